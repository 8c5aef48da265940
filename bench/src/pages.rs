//! The pages of the Console that grow: the list of clients, and the page of a client with a long history.

use crate::{
    Alg, Failure,
    api::Api,
    cpu, fill,
    server::{Place, Server},
};
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use std::time::{Duration, Instant};

/// Number of rotations of the client with a long history.
const ROTATIONS: usize = 500;

/// A signed-in browser, and the API as the same person.
struct Visitor {
    api: Api,
    cookies: String,
}

/// Prints the time of each page, and of the smallest page.
pub(crate) async fn measure(clients: usize, rounds: usize) -> Result<(), Failure> {
    cpu::keep_to(cpu::GENERATOR)?;
    let directory = tempfile::tempdir()?;
    let token = fill::fill(directory.path(), clients).await?;
    let server = Server::crossfade(&Place::new(directory.path())).await?;
    let visitor = Visitor::sign_in(&server, token).await?;
    let rotated = visitor.rotate_often().await?;
    let list = "/console/clients";
    let first = visitor.page(list).await?.1;
    let next = first
        .split("href=\"")
        .find_map(|rest| Some(rest.split_once('"')?.0).filter(|it| it.contains("cursor=")));
    let next = next.ok_or("the list has no second page")?.replace("&amp;", "&");
    let next = if next.starts_with('?') { format!("{list}{next}") } else { next };
    let history = format!("/console/clients/{rotated}/environments/{}/security", Alg::Es256.environment());
    let pages = [
        ("the smallest page: /healthz", "/healthz".to_owned()),
        ("clients, first page", list.to_owned()),
        ("clients, second page", next),
        ("clients, search by name", format!("{list}?q=client+{}", clients / 2)),
        ("clients, search without a match", format!("{list}?q=nobody+is+called+so")),
        ("clients, oldest secret first", format!("{list}?sort=oldest-secret")),
        ("overview", "/console".to_owned()),
        ("security of a client with 500 rotations", history.clone()),
        ("the same page, live update", history.replace("/security", "/live?tab=security")),
    ];
    println!("{clients} clients, {ROTATIONS} rotations of one of them, median and slowest of {rounds}\n");
    println!("| page | median | slowest | kB |\n|---|--:|--:|--:|");
    let mut times = vec![Vec::new(); pages.len()];
    let mut sizes = vec![0; pages.len()];
    for _ in 0..rounds.max(1) {
        for ((_, path), (times, size)) in pages.iter().zip(times.iter_mut().zip(&mut sizes)) {
            let (took, text) = visitor.page(path).await?;
            times.push(took);
            *size = text.len() / 1024;
        }
    }
    for ((name, _), (mut times, size)) in pages.iter().zip(times.into_iter().zip(sizes)) {
        times.sort_unstable();
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("| {name} | {:.1} ms | {:.1} ms | {size} |", millis(median), millis(slowest));
    }
    Ok(())
}

impl Visitor {
    async fn sign_in(server: &Server, token: String) -> Result<Self, Failure> {
        let api = Api::new(server, token)?;
        let form = [("email", fill::OWNER.0), ("password", fill::OWNER.1), ("to", "/console")];
        let answer = api.http.post(format!("{}/console/sign-in", api.url)).form(&form).send().await?;
        let cookies = answer.headers().get_all(header::SET_COOKIE).iter();
        let cookies: Vec<_> = cookies.filter_map(|it| it.to_str().ok()?.split(';').next()).collect();
        let cookies = cookies.join("; ");
        Ok(Self { api, cookies })
    }

    /// Returns a page, and the time until its last byte.
    async fn page(&self, path: &str) -> Result<(Duration, String), Failure> {
        let begun = Instant::now();
        let asked =
            self.api.http.get(format!("{}{path}", self.api.url)).header(header::COOKIE, &self.cookies);
        let answer = asked.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let took = begun.elapsed();
        match status {
            StatusCode::OK => Ok((took, text)),
            status => Err(format!("{path}: {status}").into()),
        }
    }

    /// Rotates one client many times. Returns its id.
    async fn rotate_often(&self) -> Result<String, Failure> {
        let clients = self.api.call(Method::GET, "/clients?limit=1", None).await?;
        let client = &clients["items"][0];
        let id = client["id"].as_str().ok_or("no client")?;
        let path = format!("/clients/{id}/environments/{}/secrets/rotate", Alg::Es256.environment());
        for _ in 0..ROTATIONS {
            let body = json!({"transition_hours": 0, "confirm_client_name": client["name"]});
            self.api.call(Method::POST, &path, Some(body)).await?;
        }
        Ok(id.to_owned())
    }
}
