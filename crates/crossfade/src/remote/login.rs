//! `crossfade login`, `logout` and `profile`.

use super::{
    http::{
        Api, DEFAULT_URL, PlainHttp, base_url, http_client, not_ours, root, token_variable, without_slash,
    },
    loopback_code::{Brought, Waiting},
};
use crate::{
    cli::{Login, Logout, Profile as Command},
    failure::Failure,
    output::{self, fixed, text, time},
    profiles::{Profile, ProfileName, Profiles, TokenValue},
    progress::while_waiting,
};
use crossfade_app::code_challenge;
use crossfade_authority::SystemRandom;
use crossfade_core::{
    Code, Random, base62,
    login::{LoggedIn, LoginCode},
};
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use std::{
    io::IsTerminal,
    process::{Command as Program, Stdio},
    time::Duration,
};
use zeroize::Zeroizing;

/// How long the command waits for the browser.
const BROWSER_WITHIN: Duration = Duration::from_secs(10 * 60);
/// Timeout for the response to a code.
const REDEEMED_WITHIN: Duration = Duration::from_secs(60);
/// How often a wrong code can be typed.
const TYPED_CODES: u32 = 3;

/// The response to a code.
#[derive(Deserialize)]
struct Redeemed {
    value: String,
    token: LoggedIn,
}

/// A random text of 256 bits that only this command knows.
struct Random256(Zeroizing<String>);

impl Random256 {
    fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom.fill(bytes.as_mut());
        Self(Zeroizing::new(base62::encode_fixed(bytes.as_ref(), 43)))
    }
}

/// A sign-in of this command line.
struct SignIn {
    base: Url,
    http: reqwest::Client,
    verifier: Random256,
}

impl SignIn {
    /// Returns the address of the page that approves the command.
    fn page(&self, args: &Login, loopback: Option<(u16, &str)>) -> String {
        output::note(&format!("Check code: {}", code_challenge(&self.verifier.0).check_code()));
        let mut page = self.base.clone();
        page.set_path("/console/command-line");
        let mut query = page.query_pairs_mut();
        query.append_pair("challenge", code_challenge(&self.verifier.0).as_str());
        query.append_pair("name", &args.name.clone().unwrap_or_else(machine_name));
        query.append_pair("expires_days", &args.expires_days.to_string());
        if !args.scope.is_empty() {
            query.append_pair("scope", &args.scope.join(" "));
        }
        if let Some((port, state)) = loopback {
            query.append_pair("port", &port.to_string()).append_pair("state", state);
        }
        drop(query);
        page.into()
    }

    /// Exchanges a code for a token. It is sent once, because a code works once.
    async fn redeem(&self, code: &LoginCode) -> Result<Redeemed, Failure> {
        let mut url = self.base.clone();
        url.set_path("/console/command-line/token");
        let body = json!({"code": code.reveal(), "verifier": *self.verifier.0});
        let sent = async {
            let request =
                self.http.post(url).header("accept", "application/json").timeout(REDEEMED_WITHIN).json(&body);
            let response = request.send().await.map_err(|error| {
                Failure::unanswered(format!(
                    "The server did not answer: {}. It may have created an API token, which your account page lists. Run crossfade login again.",
                    root(&error)
                ))
            })?;
            redeemed(response).await
        };
        while_waiting("Waiting for the server", sent).await
    }
}

/// A refusal of the Console.
#[derive(Deserialize)]
struct Refusal {
    code: String,
    detail: String,
}

/// Reads the response to a code.
async fn redeemed(response: reqwest::Response) -> Result<Redeemed, Failure> {
    let status = response.status();
    let body = response.bytes().await.map(|body| Zeroizing::new(body.to_vec()));
    let body =
        body.map_err(|error| Failure::unanswered(format!("The response was cut off: {}.", root(&error))))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| not_ours(status.as_str()));
    }
    match serde_json::from_slice(&body) {
        Ok(Refusal { code, detail }) => Err(Failure::refused_by_console(status.as_u16(), code, detail)),
        Err(_) => Err(not_ours(status.as_str())),
    }
}

/// Runs `crossfade login`.
pub(crate) async fn login(args: Login) -> Result<(), Failure> {
    let profiles = Profiles::of_person()?;
    profiles.prepare()?;
    let (name, base) = place(&args, &profiles)?;
    let plain = PlainHttp::of_flag(args.insecure_http);
    let http = http_client(&base, plain)?;
    let earlier = profiles.read(&name).ok().flatten();
    let sign_in = SignIn { base, http, verifier: Random256::generate() };
    let redeemed = match args.no_browser || !has_browser() {
        true => by_typed_code(&sign_in, &args).await?,
        false => by_browser(&sign_in, &args).await?,
    };
    let Redeemed { value, token } = redeemed;
    let profile = Profile {
        url: without_slash(&sign_in.base),
        account: token.user_email.clone(),
        token_id: token.id.to_string(),
        token: TokenValue::new(value),
        expires_at: token.expires_at,
    };
    if let Some(other) = earlier.as_ref().filter(|it| it.account != profile.account) {
        // Another person of this machine may have approved it, to have the next commands run in their account.
        drop_token(&name, &profile, plain).await;
        return Err(Failure::conflict(format!(
            "The command line was approved by {}, and the profile {name} belongs to {}. Nothing was changed. Set --profile to another name, or run crossfade logout --profile {name} first.",
            output::line(&profile.account),
            output::line(&other.account)
        )));
    }
    if let Err(failure) = profiles.write(&name, &profile) {
        drop_token(&name, &profile, plain).await;
        return Err(failure);
    }
    if let Some(earlier) = earlier {
        drop_token(&name, &earlier, plain).await;
    }
    output::note(&format!(
        "Signed in at {} as {}. The token {} expires {}. The profile {name} is the current one.",
        profile.url,
        output::line(&profile.account),
        output::line(&token.name),
        time(Some(token.expires_at))
    ));
    warn_of_variable();
    Ok(())
}

/// Returns the profile to write, and the server of it.
fn place(args: &Login, profiles: &Profiles) -> Result<(ProfileName, Url), Failure> {
    let named = args.profile.clone();
    let of_name = named.as_ref().and_then(|name| profiles.read(name).ok().flatten());
    let current = || profiles.choose(None, None).ok().map(|(_, profile)| profile);
    let known = match args.url {
        Some(_) => None,
        None => of_name.or_else(current).map(|profile| profile.url),
    };
    let base = base_url(args.url.as_deref().or(known.as_deref()).unwrap_or(DEFAULT_URL))?;
    let url = without_slash(&base);
    let name = match named {
        Some(name) => name,
        None => match profiles.choose(None, Some(&url)) {
            Ok((name, _)) => name,
            Err(_) => unused_name(&base, &url, profiles),
        },
    };
    // A broken file is written again.
    if let Some(profile) = profiles.read(&name).ok().flatten().filter(|profile| profile.url != url) {
        return Err(Failure::conflict(format!(
            "The profile {name} belongs to {}. Nothing was changed. Set --profile to another name, or run crossfade logout --profile {name} first.",
            profile.url
        )));
    }
    Ok((name, base))
}

/// Warns that commands do not use the current profile.
fn warn_of_variable() {
    if token_variable().is_some() {
        output::warning(
            "CROSSFADE_TOKEN is set, so commands use its token and not the profile. Unset it, or set --profile.",
        );
    }
}

/// Returns the host of a URL as a name; with the port, if another server's profile has that name.
fn unused_name(base: &Url, url: &str, profiles: &Profiles) -> ProfileName {
    let name = ProfileName::of_url(base);
    let is_free = profiles.read(&name).ok().flatten().is_none_or(|profile| profile.url == url);
    let port = base.port_or_known_default().unwrap_or_default();
    if is_free { name } else { format!("{name}-{port}").parse().unwrap_or(name) }
}

/// Deletes a token that no profile keeps, so that tokens do not pile up.
async fn drop_token(name: &ProfileName, unused: &Profile, plain: PlainHttp) {
    let deleted = async {
        let api = Api::of_profile(name, unused, plain)?;
        api.delete(&format!("/tokens/{}", unused.token_id)).await
    };
    if let Err(failure) = deleted.await
        && !failure.has_code(Code::Unauthenticated)
    {
        output::warning(&format!(
            "The unused token {0} was not deleted. Delete it with crossfade token delete {0}.",
            output::line(&unused.token_id)
        ));
    }
}

async fn by_browser(sign_in: &SignIn, args: &Login) -> Result<Redeemed, Failure> {
    let state = Random256::generate();
    let waiting = Waiting::open(state.0.to_string()).await?;
    let page = sign_in.page(args, Some((waiting.port()?, &state.0)));
    match open_browser(&page) {
        true => output::note(&format!(
            "Opened the browser. If it shows nothing, open this address on this machine:\n{page}"
        )),
        false => output::note(&format!(
            "Open this address in a browser on this machine, or set --no-browser:\n{page}"
        )),
    }
    let received = while_waiting("Waiting for the browser", waiting.receive(BROWSER_WITHIN));
    let (brought, browser) = received.await?;
    let Brought::Code(code) = brought else {
        browser.answer("The command line was not approved. You can close this page.").await;
        return Err(Failure::failed("The command line was not approved. Nothing was changed."));
    };
    let redeemed = sign_in.redeem(&code).await;
    browser
        .answer(match &redeemed {
            Ok(_) => "The command line is signed in. You can close this page.",
            Err(_) => "The command line is not signed in. The terminal shows the reason.",
        })
        .await;
    redeemed
}

async fn by_typed_code(sign_in: &SignIn, args: &Login) -> Result<Redeemed, Failure> {
    output::note(&format!(
        "Open this address in a browser, and type the code that it shows:\n{}",
        sign_in.page(args, None)
    ));
    for left in (0..TYPED_CODES).rev() {
        // A pipe brings one code.
        let is_last = left == 0 || !std::io::stdin().is_terminal();
        let Some(code) = LoginCode::parse(&typed_code()?) else {
            if is_last {
                return Err(Failure::failed(
                    "This is not a code. Nothing was changed. Run crossfade login again.",
                ));
            }
            output::note("This is not a code. A code has 12 letters and digits.");
            continue;
        };
        match sign_in.redeem(&code).await {
            Err(failure) if failure.has_code(Code::NotFound) && !is_last => {
                output::note(
                    "The code is wrong or expired. Type it again, or open the address again for a new code.",
                );
            }
            redeemed => return redeemed,
        }
    }
    Err(Failure::failed("No code was typed. Nothing was changed. Run crossfade login again."))
}

fn typed_code() -> Result<String, Failure> {
    output::prompt("Code: ");
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(0) => Err(Failure::failed("No code was typed. Nothing was changed. Run crossfade login again.")),
        Ok(_) => Ok(line),
        Err(error) => Err(Failure::failed(format!("Cannot read the code: {error}. Nothing was changed."))),
    }
}

/// Returns the name of this machine, for the list of tokens.
fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "command line".to_owned() } else { name }
}

/// Returns the program that opens an address: that of `BROWSER`, or of the desktop.
#[expect(clippy::disallowed_methods, reason = "how a desktop names its browser")]
fn browser() -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let has_desktop =
        cfg!(target_os = "macos") || ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|it| set(it).is_some());
    let of_desktop = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    set("BROWSER").or_else(|| has_desktop.then(|| of_desktop.to_owned()))
}

fn has_browser() -> bool {
    browser().is_some()
}

/// Opens an address in the browser. Returns whether the browser was started.
fn open_browser(address: &str) -> bool {
    let Some(browser) = browser() else { return false };
    let started = Program::new(browser)
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut started) = started else { return false };
    // Some browsers run until their window is closed.
    std::thread::spawn(move || started.wait());
    true
}

/// Runs `crossfade logout`.
pub(crate) async fn logout(args: Logout) -> Result<(), Failure> {
    let profiles = Profiles::of_person()?;
    let (name, profile) = match profiles.choose(args.profile.as_ref(), None) {
        // A broken file has no token to end.
        Err(failure) if args.forget && !failure.is_not_found() => {
            let named = match args.profile {
                Some(name) => Some(name),
                None => profiles.current()?,
            };
            let Some(name) = named else { return Err(failure) };
            profiles.delete(&name)?;
            output::note(&format!("Deleted the profile {name}."));
            return Ok(());
        }
        chosen => chosen?,
    };
    let deleted = async {
        let api = Api::of_profile(&name, &profile, PlainHttp::of_flag(args.insecure_http))?;
        api.delete(&format!("/tokens/{}", profile.token_id)).await
    };
    match deleted.await {
        Ok(()) => {}
        // The token has ended already.
        Err(failure) if failure.has_code(Code::Unauthenticated) || failure.has_code(Code::NotFound) => {}
        Err(_) if args.forget => {
            let (token, ends) = (&profile.token_id, profile.expires_at);
            output::warning(&format!("The token {token} was not deleted, and is valid until {ends}."));
        }
        Err(failure) => {
            output::note("The profile was kept. To delete it without the server, set --forget.");
            return Err(failure);
        }
    }
    profiles.delete(&name)?;
    output::note(&format!("Signed out of {}. Deleted the profile {name}.", profile.url));
    Ok(())
}

/// Runs `crossfade profile`.
pub(crate) fn profile(command: Command) -> Result<(), Failure> {
    let profiles = Profiles::of_person()?;
    match command {
        Command::Use { profile } => {
            profiles.set_current(&profile)?;
            output::note(&format!("The profile {profile} is the current one."));
            warn_of_variable();
            Ok(())
        }
        Command::List { json } => {
            let current = profiles.current()?;
            let list = profiles.list()?;
            if json {
                let item = |(name, profile): &(ProfileName, Profile)| {
                    let is_current = Some(name) == current.as_ref();
                    json!({"name": name.to_string(), "current": is_current, "url": profile.url, "account": profile.account,
                        "token_id": profile.token_id, "expires_at": profile.expires_at})
                };
                return output::json(&list.iter().map(item).collect::<Vec<_>>());
            }
            let row = |(name, profile): (ProfileName, Profile)| {
                let mark = if Some(&name) == current.as_ref() { "*" } else { "" };
                vec![
                    mark.to_owned(),
                    name.to_string(),
                    profile.url,
                    profile.account,
                    time(Some(profile.expires_at)),
                ]
            };
            output::table(
                &[fixed(""), text("name"), text("url"), text("account"), fixed("expires")],
                list.into_iter().map(row).collect(),
            )
        }
    }
}
