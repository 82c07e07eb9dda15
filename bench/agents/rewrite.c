/* The minimal agent by binary rewriting: at start every `mov $NR,%eax; syscall` of libc whose call
 * is in the set becomes a jump to a trampoline, which counts and makes the call.
 *
 *   site:        jmp trampoline; 2 bytes of nop        (7 bytes, as before)
 *   trampoline:  step over the red zone; mov $NR,%eax; call *handler; step back; jmp after site
 *
 * Vector registers stay untouched, so they need no saving. A byte before the site that could make
 * the `mov` another instruction (a REX prefix) excludes it. */
#include "calls.h"
#include <link.h>
#include <sys/mman.h>

#define SITE 7
#define TRAMPOLINE 40
#define ROOM (1 << 16)

__attribute__((used, visibility("hidden"))) unsigned long agent_calls;

/* The call's number is in eax, its arguments in their registers. */
void agent_handler(void) __attribute__((visibility("hidden")));
__asm__(".text\n"
        ".hidden agent_handler\n"
        ".globl agent_handler\n"
        "agent_handler:\n"
        "  incq agent_calls(%rip)\n"
        "  cmp $3, %eax\n" /* SYS_close */
        "  je 1f\n"
        "2: syscall\n"
        "  ret\n"
        "1: cmp $-1077, %edi\n" /* PROBE */
        "  jne 2b\n"
        "  mov $77, %eax\n" /* PROBED */
        "  ret\n");

struct text {
  unsigned char *start;
  size_t size;
};

static int find_libc(struct dl_phdr_info *info, size_t size, void *to) {
  (void)size;
  if (!info->dlpi_name || !strstr(info->dlpi_name, "/libc.so.6")) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
      struct text *text = to;
      text->start = (unsigned char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
      text->size = info->dlpi_phdr[i].p_memsz;
    }
  return 1;
}

/* Memory that a jump from libc can reach: below it, where there is a gap. */
static unsigned char *room_near(unsigned char *libc) {
  for (uintptr_t at = ((uintptr_t)libc & ~(uintptr_t)0xffff) - ROOM; at > ROOM; at -= ROOM) {
    if ((uintptr_t)libc - at > 0x70000000) break;
    void *room = mmap((void *)at, ROOM, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (room == (void *)at) return room;
    if (room != MAP_FAILED) munmap(room, ROOM);
  }
  return NULL;
}

static void jump(unsigned char *from, unsigned char *to) {
  int32_t distance = (int32_t)(to - (from + 5));
  from[0] = 0xe9;
  memcpy(from + 1, &distance, 4);
}

static void trampoline(unsigned char *at, unsigned char *slot, unsigned char *site) {
  static const unsigned char before[] = {0x48, 0x8d, 0x64, 0x24, 0x80};
  static const unsigned char after[] = {0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0};
  memcpy(at, before, sizeof before);
  memcpy(at + 5, site, 5);
  at[10] = 0xff;
  at[11] = 0x15;
  int32_t distance = (int32_t)(slot - (at + 16));
  memcpy(at + 12, &distance, 4);
  memcpy(at + 16, after, sizeof after);
  jump(at + 24, site + SITE);
}

static int is_site(const unsigned char *at) {
  uint32_t nr;
  memcpy(&nr, at + 1, 4);
  return at[0] == 0xb8 && at[5] == 0x0f && at[6] == 0x05 && in_calls(nr) &&
         !(at[-1] >= 0x40 && at[-1] <= 0x4f);
}

__attribute__((constructor)) static void start(void) {
  struct text libc = {0};
  dl_iterate_phdr(find_libc, &libc);
  unsigned char *room = libc.start ? room_near(libc.start) : NULL;
  if (!room) return;
  void *handler = (void *)agent_handler;
  memcpy(room, &handler, sizeof handler);
  unsigned char *free = room + 16;
  /* One change for all of it: only pages that are written to are copied. */
  if (mprotect(libc.start, libc.size, PROT_READ | PROT_WRITE | PROT_EXEC)) return;
  unsigned char *end = libc.start + libc.size, *at = libc.start + 16;
  while ((at = memmem(at, (size_t)(end - at), "\x0f\x05", 2)) && free + TRAMPOLINE < room + ROOM) {
    unsigned char *site = at - 5;
    at += 2;
    if (!is_site(site)) continue;
    trampoline(free, room, site);
    jump(site, free);
    site[5] = 0x66;
    site[6] = 0x90;
    free += TRAMPOLINE;
  }
  mprotect(libc.start, libc.size, PROT_READ | PROT_EXEC);
  mprotect(room, ROOM, PROT_READ | PROT_EXEC);
}
