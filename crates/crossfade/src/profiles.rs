//! Profiles: the servers that a person has signed the command line in at, each a file that only the person can read.

use crate::{failure::Failure, output};
use crossfade_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    str::FromStr,
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Extension of the files of profiles.
const EXTENSION: &str = "json";
/// Name of the file with the name of the current profile. It has no extension, so no profile can have it.
const CURRENT: &str = "current";
/// Maximum number of bytes read from a file.
const MAX_BYTES: u64 = 16 * 1024;

/// Name of a profile: lower-case letters, digits, hyphens and dots.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ProfileName(String);

impl ProfileName {
    /// Returns the name for the host of a URL.
    pub(crate) fn of_url(url: &reqwest::Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_lowercase();
        let plain: String = host.chars().filter(|it| is_name_character(*it)).take(63).collect();
        plain.trim_matches(['-', '.']).parse().unwrap_or_else(|_| Self("default".to_owned()))
    }
}

fn is_name_character(it: char) -> bool {
    it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-' || it == '.'
}

impl FromStr for ProfileName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let begins = text.starts_with(|it: char| it.is_ascii_lowercase() || it.is_ascii_digit());
        match begins && text.len() <= 63 && text.chars().all(is_name_character) {
            true => Ok(Self(text.to_owned())),
            false => Err(
                "must be 1 to 63 lower-case letters, digits, hyphens and dots, and begin with a letter or digit",
            ),
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of an API token, wiped when dropped.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(crate) struct TokenValue(String);

impl TokenValue {
    /// Returns a value for a profile.
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// Returns the value as text. The caller is responsible for where it goes.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// A server, and the API token for it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// Base URL of the server, without a slash at its end.
    pub(crate) url: String,
    /// Email address of the account.
    pub(crate) account: String,
    /// ID of the token.
    pub(crate) token_id: String,
    /// Value of the token.
    pub(crate) token: TokenValue,
    /// When the token expires.
    pub(crate) expires_at: Timestamp,
}

/// The profiles of the person who runs the program.
pub(crate) struct Profiles {
    directory: PathBuf,
}

impl Profiles {
    /// Returns the profiles in `$XDG_CONFIG_HOME/crossfade/profiles`, or in `~/.config/crossfade/profiles`.
    #[expect(clippy::disallowed_methods, reason = "where the files of a person are")]
    pub(crate) fn of_person() -> Result<Self, Failure> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config =
            absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let config = config.ok_or_else(|| {
            Failure::failed(
                "Cannot find your profiles, because HOME is not set. Set HOME, or set CROSSFADE_TOKEN.",
            )
        })?;
        Ok(Self { directory: config.join("crossfade").join("profiles") })
    }

    /// Returns a profile; `None` if there is none of this name.
    pub(crate) fn read(&self, name: &ProfileName) -> Result<Option<Profile>, Failure> {
        let path = self.path(name);
        let Some(text) = read_private(&path)? else { return Ok(None) };
        let profile = serde_json::from_str(&text).map_err(|_| {
            Failure::failed(format!(
                "{} is not a profile. Nothing was changed. Run crossfade login --profile {name} to write it again, or crossfade logout --profile {name} --forget to delete it.",
                path.display()
            ))
        })?;
        Ok(Some(profile))
    }

    /// Returns all profiles by name.
    pub(crate) fn list(&self) -> Result<Vec<(ProfileName, Profile)>, Failure> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(&self.directory, &error)),
        };
        let mut profiles = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&self.directory, &error))?.path();
            let is_profile = path.extension().is_some_and(|it| it == EXTENSION);
            let name = path.file_stem().and_then(|it| it.to_str()).and_then(|it| it.parse().ok());
            let Some(name) = name.filter(|_| is_profile) else { continue };
            match self.read(&name) {
                Ok(Some(profile)) => profiles.push((name, profile)),
                Ok(None) => {}
                // It does not keep the others from being used.
                Err(failure) => output::warning(failure.sentence()),
            }
        }
        profiles.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(profiles)
    }

    /// Returns the name of the current profile, if that profile exists.
    pub(crate) fn current(&self) -> Result<Option<ProfileName>, Failure> {
        let name = read_private(&self.directory.join(CURRENT))?;
        let name: Option<ProfileName> = name.and_then(|text| text.trim().parse().ok());
        Ok(name.filter(|name| self.path(name).exists()))
    }

    /// Returns the profile to use: the named one, or the current one. With a URL, the profile is of that server.
    pub(crate) fn choose(
        &self,
        named: Option<&ProfileName>,
        url: Option<&str>,
    ) -> Result<(ProfileName, Profile), Failure> {
        let current = self.current()?;
        if let Some(name) = named.or(current.as_ref().filter(|_| url.is_none())) {
            let profile = self.read(name)?.ok_or_else(|| missing(name))?;
            return match url {
                Some(url) if url != profile.url => Err(Failure::usage(format!(
                    "The profile {name} belongs to {}, not to {url}. Nothing was sent. Leave out --url and CROSSFADE_URL, or name another profile.",
                    profile.url
                ))),
                _ => Ok((name.clone(), profile)),
            };
        }
        let Some(url) = url else {
            return Err(Failure::usage(
                "You are not signed in. Run crossfade login, or set CROSSFADE_TOKEN to an API token.",
            ));
        };
        let mut of_server: Vec<_> =
            self.list()?.into_iter().filter(|(_, profile)| profile.url == url).collect();
        if let Some(at) = of_server.iter().position(|(name, _)| Some(name) == current.as_ref()) {
            return Ok(of_server.swap_remove(at));
        }
        match of_server.pop() {
            Some(found) if of_server.is_empty() => Ok(found),
            Some(_) => Err(Failure::usage(format!(
                "Several profiles belong to {url}. Nothing was sent. Set --profile."
            ))),
            None => Err(Failure::usage(format!(
                "You are not signed in at {url}. Nothing was sent. Run crossfade login --url {url}, or set CROSSFADE_TOKEN to an API token."
            ))),
        }
    }

    /// Writes a profile whole, and makes it the current one.
    pub(crate) fn write(&self, name: &ProfileName, profile: &Profile) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(profile).map(Zeroizing::new);
        let json =
            json.map_err(|error| Failure::failed(format!("Cannot write the profile {name}: {error}.")))?;
        self.write_private(&self.path(name), &format!("{}\n", *json))?;
        self.set_current(name)
    }

    /// Makes a profile the current one.
    pub(crate) fn set_current(&self, name: &ProfileName) -> Result<(), Failure> {
        if self.read(name)?.is_none() {
            return Err(missing(name));
        }
        self.write_private(&self.directory.join(CURRENT), &format!("{name}\n"))
    }

    /// Deletes a profile.
    pub(crate) fn delete(&self, name: &ProfileName) -> Result<(), Failure> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::failed(format!("Cannot delete {}: {error}.", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Checks that profiles can be written, before a token exists that would be lost.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        let probe = self.directory.join(format!(".{}.probe", std::process::id()));
        self.create_private(&probe)?;
        fs::remove_file(&probe).map_err(|error| unwritable(&probe, &error))
    }

    fn path(&self, name: &ProfileName) -> PathBuf {
        self.directory.join(format!("{name}.{EXTENSION}"))
    }

    fn write_private(&self, path: &Path, text: &str) -> Result<(), Failure> {
        let temporary = self.directory.join(format!(".{}.new", std::process::id()));
        let written = self.create_private(&temporary).and_then(|mut file| {
            let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
            written.and_then(|()| fs::rename(&temporary, path)).map_err(|error| unwritable(path, &error))
        });
        if written.is_err() {
            // A half-written file holds a token.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn create_private(&self, path: &Path) -> Result<File, Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|error| unwritable(&self.directory, &error))?;
        // Of a process that had this number and was killed.
        let _ = fs::remove_file(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| unwritable(path, &error))?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(|error| unwritable(path, &error))?;
        Ok(file)
    }
}

/// Reads a file that only its owner can read; `None` if it does not exist.
fn read_private(path: &Path) -> Result<Option<Zeroizing<String>>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let about = file.metadata().map_err(|error| unreadable(path, &error))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(Failure::failed(format!(
            "Other accounts on this machine can access {0}. Nothing was sent. Run chmod 600 {0}, and sign in again if someone may have read it.",
            path.display()
        )));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    Ok(Some(text))
}

fn missing(name: &ProfileName) -> Failure {
    Failure::not_found(format!(
        "There is no profile {name}. Nothing was changed. List the profiles with crossfade profile list."
    ))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("Cannot read {}: {error}.", path.display()))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("Cannot write {}: {error}.", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> (tempfile::TempDir, Profiles) {
        let directory = tempfile::tempdir().unwrap();
        let profiles = Profiles { directory: directory.path().join("crossfade").join("profiles") };
        (directory, profiles)
    }

    fn profile(url: &str) -> Profile {
        Profile {
            url: url.to_owned(),
            account: "ada@example.com".to_owned(),
            token_id: "tok_1".to_owned(),
            token: TokenValue::new("value".to_owned()),
            expires_at: Timestamp::from_micros(1_800_000_000_000_000),
        }
    }

    fn name(text: &str) -> ProfileName {
        text.parse().unwrap()
    }

    #[test]
    fn a_profile_is_private_and_becomes_the_current_one() {
        let (_kept, profiles) = profiles();
        assert!(profiles.choose(None, None).err().unwrap().sentence().contains("crossfade login"));
        profiles.prepare().unwrap();
        profiles.write(&name("one"), &profile("https://one.example")).unwrap();
        profiles.write(&name("two"), &profile("https://two.example")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&profiles.path(&name("one"))), 0o600);
        assert_eq!(mode(&profiles.directory), 0o700);
        assert_eq!(profiles.current().unwrap(), Some(name("two")));
        profiles.set_current(&name("one")).unwrap();
        assert_eq!(profiles.choose(None, None).unwrap().1.url, "https://one.example");
        let names: Vec<_> = profiles.list().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [name("one"), name("two")]);
        profiles.delete(&name("one")).unwrap();
        assert_eq!(profiles.current().unwrap(), None);
        let left: Vec<_> =
            fs::read_dir(&profiles.directory).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_token_is_sent_to_no_other_server() {
        let (_kept, profiles) = profiles();
        profiles.write(&name("one"), &profile("https://one.example")).unwrap();
        profiles.write(&name("two"), &profile("https://two.example")).unwrap();
        let chosen = |named: Option<&str>, url: Option<&str>| {
            let named = named.map(name);
            profiles.choose(named.as_ref(), url).map(|(name, _)| name.to_string())
        };
        assert_eq!(chosen(None, Some("https://one.example")).unwrap(), "one");
        assert_eq!(chosen(Some("two"), Some("https://two.example")).unwrap(), "two");
        for (named, url) in [(Some("two"), "https://one.example"), (None, "https://evil.example")] {
            assert!(chosen(named, Some(url)).unwrap_err().sentence().contains("Nothing was sent."));
        }
        profiles.write(&name("again"), &profile("https://one.example")).unwrap();
        profiles.set_current(&name("two")).unwrap();
        assert!(chosen(None, Some("https://one.example")).unwrap_err().sentence().contains("--profile"));
        assert!(chosen(Some("three"), None).unwrap_err().sentence().contains("no profile three"));
    }

    #[test]
    fn a_profile_that_others_can_read_is_refused() {
        let (_kept, profiles) = profiles();
        profiles.write(&name("one"), &profile("https://one.example")).unwrap();
        fs::set_permissions(profiles.path(&name("one")), Permissions::from_mode(0o640)).unwrap();
        assert!(profiles.choose(None, None).err().unwrap().sentence().contains("chmod 600"));
        fs::set_permissions(profiles.path(&name("one")), Permissions::from_mode(0o600)).unwrap();
        fs::write(profiles.path(&name("one")), "{}").unwrap();
        assert!(profiles.choose(None, None).err().unwrap().sentence().contains("is not a profile"));
    }

    #[test]
    fn a_name_is_no_path() {
        for wrong in ["", ".", "..", "../x", "a/b", "A", "-a", ".a", "a b", &"a".repeat(64)] {
            assert!(wrong.parse::<ProfileName>().is_err(), "{wrong}");
        }
        let named = |url: &str| ProfileName::of_url(&reqwest::Url::parse(url).unwrap()).to_string();
        assert_eq!(named("https://Auth.Example.com:8443"), "auth.example.com");
        assert_eq!(named("http://[::1]:8080"), "1");
        assert_eq!(named("http://[::]"), "default");
    }
}
