//! The keys of tickets: RSA, in PEM.
//!
//! Logging in proves the possession of the private key: the server sends random bytes, the client
//! sends them back signed. They are signed as they are, PKCS#1 v1.5 padded, without a digest
//! (RFC 8017, section 8.2, less its `DigestInfo`): that is what the stock programs do.

use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _, LineEnding};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};

use super::Name;

/// Bytes of a challenge.
pub const CHALLENGE: usize = 64;

/// The longest challenge that a client signs, in bytes.
pub const MAX_CHALLENGE: usize = 512;

/// The longest signature that a server reads, in bytes: that of the longest key.
pub const MAX_SIGNATURE: usize = 512;

/// The shortest modulus, in bytes: a challenge and 11 bytes of padding must fit.
const MIN_SIZE: usize = CHALLENGE + 11;

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The text holds no RSA key in PEM, or one that is damaged, or encrypted.
    NoKey(String),
    /// The modulus is too short to sign what is to be signed.
    TooShort,
    /// A client is asked to sign more than a challenge.
    TooLong,
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoKey(why) => write!(f, "no RSA key in PEM: {why}"),
            Self::TooShort => f.write_str("the key is too short for a ticket"),
            Self::TooLong => f.write_str("the server asks to sign too much"),
        }
    }
}

impl std::error::Error for KeyError {}

/// A ticket as its holder has it.
#[derive(Clone)]
pub struct PrivateKey {
    key: RsaPrivateKey,
    name: Name,
}

/// Never shows the key.
impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Reads the text of a ticket's file. Lines that begin with `#` are no part of it.
    ///
    /// # Errors
    /// [`KeyError::NoKey`], [`KeyError::TooShort`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let pem: String = lines.flat_map(|line| [line.trim_end(), "\n"]).collect();
        let pem = pem.trim_start();
        // openssl writes the first form today, wrote the second one before 3.0.
        let key = RsaPrivateKey::from_pkcs8_pem(pem)
            .or_else(|error| RsaPrivateKey::from_pkcs1_pem(pem).map_err(|_| error))
            .map_err(|error| KeyError::NoKey(error.to_string()))?;
        if key.size() < MIN_SIZE {
            return Err(KeyError::TooShort);
        }
        let public = text_of(&key.to_public_key())?;
        Ok(Self { key, name: Name::of(public.as_bytes()) })
    }

    /// The name that the ticket has at every server.
    #[must_use]
    pub const fn name(&self) -> Name {
        self.name
    }

    /// The text of the public key, as servers keep it.
    ///
    /// # Errors
    /// The key cannot be put into words, which is not to be expected.
    pub fn public_key(&self) -> Result<String, KeyError> {
        text_of(&self.key.to_public_key())
    }

    /// Signs a challenge.
    ///
    /// # Errors
    /// [`KeyError::TooLong`]: more than [`MAX_CHALLENGE`] bytes; [`KeyError::TooShort`]: more than
    /// the key can sign.
    pub fn sign(&self, challenge: &[u8]) -> Result<Vec<u8>, KeyError> {
        if challenge.len() > MAX_CHALLENGE {
            return Err(KeyError::TooLong);
        }
        // The random numbers blind the computation, so that its time does not tell the key.
        let random = &mut rsa::rand_core::OsRng;
        self.key
            .sign_with_rng(random, Pkcs1v15Sign::new_unprefixed(), challenge)
            .map_err(|_| KeyError::TooShort)
    }
}

/// A ticket as servers have it.
#[derive(Clone, Debug)]
pub struct PublicKey(RsaPublicKey);

impl PublicKey {
    /// Reads the text of a public key, exactly as openssl prints it: its name is made from it.
    ///
    /// # Errors
    /// [`KeyError::NoKey`], [`KeyError::TooShort`].
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let no_key = |why: &str| KeyError::NoKey(why.to_owned());
        let text = std::str::from_utf8(text).map_err(|_| no_key("not text"))?;
        let key = RsaPublicKey::from_public_key_pem(text)
            .map_err(|error| KeyError::NoKey(error.to_string()))?;
        if key.size() < MIN_SIZE {
            return Err(KeyError::TooShort);
        }
        // One key has one name; and nothing else is smuggled in.
        if text_of(&key)? != text {
            return Err(no_key("not in the usual form"));
        }
        Ok(Self(key))
    }

    /// Tells whether somebody who holds the private key has signed a challenge.
    #[must_use]
    pub fn verify(&self, challenge: &[u8], signature: &[u8]) -> bool {
        self.0.verify(Pkcs1v15Sign::new_unprefixed(), challenge, signature).is_ok()
    }
}

/// A challenge that nobody can guess.
///
/// # Errors
/// The system has no random numbers.
pub fn challenge() -> std::io::Result<[u8; CHALLENGE]> {
    use rsa::rand_core::RngCore as _;
    let mut bytes = [0; CHALLENGE];
    rsa::rand_core::OsRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

fn text_of(key: &RsaPublicKey) -> Result<String, KeyError> {
    key.to_public_key_pem(LineEnding::LF).map_err(|error| KeyError::NoKey(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs openssl, as the stock programs do.
    fn openssl(arguments: &[&str], input: &str) -> String {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut run = Command::new("openssl");
        run.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = run.spawn().expect("openssl; run scripts/install-deps");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    /// The texts of a ticket and of its public key.
    fn ticket() -> (String, String) {
        let private = openssl(&["genrsa", "1024"], "");
        let public = openssl(&["rsa", "-pubout"], &private);
        (format!("# Chirp Ticket\n# today: Ticket Created.\n{private}"), public)
    }

    #[test]
    fn the_name_and_the_public_key_are_those_of_openssl() {
        let (text, public) = ticket();
        let key = PrivateKey::parse(&text).unwrap();
        assert_eq!(key.public_key().unwrap(), public);
        assert_eq!(key.name(), Name::of(public.as_bytes()));
        assert!(!format!("{key:?}").contains("PRIVATE"));
        // The form before openssl 3.
        let older = openssl(&["rsa", "-traditional"], &text);
        assert!(older.contains("BEGIN RSA PRIVATE KEY"), "{older}");
        assert_eq!(PrivateKey::parse(&older).unwrap().name(), key.name());
    }

    #[test]
    fn what_the_holder_signs_is_verified_and_nothing_else() {
        let (private, public) = ticket();
        let private = PrivateKey::parse(&private).unwrap();
        let public = PublicKey::parse(public.as_bytes()).unwrap();
        let (one, other) = (challenge().unwrap(), challenge().unwrap());
        assert_ne!(one, other);
        let mut signature = private.sign(&one).unwrap();
        assert!(public.verify(&one, &signature));
        assert!(!public.verify(&other, &signature));
        signature[5] ^= 1;
        assert!(!public.verify(&one, &signature));
        assert!(!public.verify(&one, &[]));
        assert_eq!(private.sign(&[1; 200]), Err(KeyError::TooShort));
        assert_eq!(private.sign(&[1; 5000]), Err(KeyError::TooLong));
    }

    #[test]
    fn only_keys_in_their_usual_form() {
        let (private, public) = ticket();
        for wrong in [
            String::new(),
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned(),
            private,
            public.trim_end().to_owned(),
            public.replace('\n', "\r\n"),
            format!("{public}\" rights \"/"),
        ] {
            assert!(PublicKey::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(PrivateKey::parse(&public).is_err());
        assert!(PrivateKey::parse("").is_err());
    }
}
