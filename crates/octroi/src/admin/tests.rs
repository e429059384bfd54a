use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::words::Lang;

struct Server {
    at: std::net::SocketAddr,
    status: watch::Sender<Arc<Status>>,
    commands: mpsc::Receiver<AdminCommand>,
    stop: oneshot::Sender<()>,
    serving: JoinSet<std::io::Result<()>>,
}

async fn server(status: Status) -> Server {
    let (status, status_out) = watch::channel(Arc::new(status));
    let (commands_in, commands) = mpsc::channel(1);
    let metrics = Arc::new(Metrics::new("0.1.0").unwrap());
    let parts = AdminParts { status: status_out, metrics, commands: commands_in, allowed_hosts: Vec::new() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, parts, async { assert!(stopped.await.is_ok()) }));
    Server { at, status, commands, stop, serving }
}

impl Server {
    /// The whole answer to one request on a connection of its own.
    async fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
    }

    async fn post(&self, path: &str, head: &str, body: &str) -> String {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n{body}",
            self.at
        ))
        .await
    }
}

const JSON: &str = "Content-Type: application/json\r\n";

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[tokio::test]
async fn only_requests_that_name_this_server_are_answered() {
    let server = server(samples::well()).await;
    for (head, expected) in [
        ("Host: localhost\r\n", "200"),
        ("Host: 127.0.0.1:9464\r\n", "200"),
        ("Host: evil.example\r\n", "421"),
        ("Host: localhost\r\nHost: evil.example\r\n", "400"),
        ("", "400"),
    ] {
        let answer = server.send(&format!("GET /metrics HTTP/1.1\r\n{head}Connection: close\r\n\r\n")).await;
        assert_eq!(code(&answer), expected, "{head}");
    }
    let absolute = "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(code(&server.send(absolute).await), "400");
}

#[tokio::test]
async fn a_write_from_a_page_of_another_site_reaches_nobody() {
    let mut server = server(samples::well()).await;
    for (head, expected) in [
        ("Origin: http://evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
        ("Sec-Fetch-Site: cross-site\r\n", "403"),
        ("Sec-Fetch-Site: same-site\r\n", "403"),
        (&format!("Origin: https://{}\r\n", server.at), "403"),
    ] {
        let answer = server.post("/api/v1/policy/activate", &format!("{JSON}{head}"), "{}").await;
        assert_eq!(code(&answer), expected, "{head}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    assert_eq!(
        code(&server.post("/api/v1/policy/activate", "Content-Type: text/plain\r\n", "{}").await),
        "415"
    );
    assert_eq!(code(&server.post("/api/v1/policy/activate", JSON, "{\"dryrun\":true}").await), "400");
    assert_eq!(code(&server.post("/api/v1/policy/activate", JSON, &" ".repeat(MAX_BODY + 1)).await), "413");
    assert!(server.commands.try_recv().is_err());
}

#[tokio::test]
async fn a_release_that_names_nothing_or_a_purge_without_a_reason_reaches_nobody() {
    let mut server = server(samples::well()).await;
    for (verb, body) in [
        ("release", "{}"),
        ("release", r#"{"ids":[]}"#),
        ("release", r#"{"all":true,"dryrun":true}"#),
        ("purge", r#"{"all":true}"#),
        ("purge", r#"{"all":true,"because":" "}"#),
        ("purge", r#"{"because":"a reason"}"#),
    ] {
        let answer = server.post(&format!("/api/v1/quarantine/{verb}"), JSON, body).await;
        assert_eq!(code(&answer), "400", "{verb} {body}: {answer}");
    }
    for path in ["quarantine/show", "quarantine/show?id=1/2&payload_because=", "quarantine?log=attic"] {
        assert_eq!(code(&server.get(&format!("/api/v1/{path}")).await), "400", "{path}");
    }
    assert!(server.commands.try_recv().is_err());
}

#[tokio::test]
async fn a_command_goes_to_the_hub_and_its_answer_comes_back() {
    let mut server = server(samples::well()).await;
    let origin = format!("{JSON}Origin: http://{}\r\n", server.at);
    let mut commands = std::mem::replace(&mut server.commands, mpsc::channel(1).1);
    let hub = async {
        let Some(AdminCommand::Activate { path, dry_run, reply }) = commands.recv().await else { panic!() };
        assert_eq!((path, dry_run), (Some(PathBuf::from("/p")), true));
        reply.send(Err(Problem::with_findings("two findings", serde_json::json!(["C24"])))).unwrap();
        let Some(AdminCommand::Explain { id, reply }) = commands.recv().await else { panic!() };
        reply.send(Ok(serde_json::json!({ "id": id }))).unwrap();
    };
    let asked = async {
        let refused =
            server.post("/api/v1/policy/activate", &origin, "{\"path\":\"/p\",\"dry_run\":true}").await;
        assert_eq!(code(&refused), "422");
        assert!(refused.contains("\"findings\":[\"C24\"]"), "{refused}");
        let explained = server.get("/api/v1/explain?id=hub-1/9f/48213").await;
        assert!(explained.ends_with("{\"id\":\"hub-1/9f/48213\"}"), "{explained}");
        assert_eq!(code(&server.get("/api/v1/quarantine?limit=1001").await), "400");
        assert_eq!(code(&server.get("/api/v1/policy/activate").await), "405");
        assert_eq!(code(&server.get("/nothing").await), "404");
    };
    tokio::join!(hub, asked);
}

#[tokio::test]
async fn more_commands_than_the_queue_holds_are_told_to_come_again() {
    let server = server(samples::well()).await;
    let first = async {
        let asking = server.get("/api/v1/policy/versions");
        assert!(tokio::time::timeout(Duration::from_millis(300), asking).await.is_err());
    };
    let second = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let answer = server.get("/api/v1/policy/versions").await;
        assert_eq!(code(&answer), "503");
        assert!(answer.contains("retry-after: 1"), "{answer}");
    };
    tokio::join!(first, second);
}

#[tokio::test]
async fn a_target_that_is_down_leaves_the_hub_ready_and_degraded() {
    let server = server(samples::cut_off()).await;
    assert_eq!(code(&server.get("/health/live").await), "200");
    let degraded = server.get("/health/ready").await;
    assert_eq!(code(&degraded), "200");
    assert!(degraded.contains("\"status\":\"degraded\""), "{degraded}");
    server.status.send_replace(Arc::new(Status { ready: false, ..samples::well() }));
    let not_ready = server.get("/health/ready").await;
    assert_eq!(code(&not_ready), "503");
    assert!(not_ready.contains("\"reason\":\"not_ready\""), "{not_ready}");
    server.status.send_replace(Arc::new(samples::hostile()));
    assert!(server.get("/health/ready").await.contains("journal_full"));
    assert_eq!(code(&server.get("/health/live").await), "200");
    assert!(server.get("/metrics").await.contains("\noctroi_unaccounted_messages -3\n"));
}

/// In real time: a paused clock and a real socket do not go together.
#[tokio::test]
async fn a_peer_that_sends_no_head_is_let_go() {
    let server = server(samples::well()).await;
    let silent = server.send("");
    let slow = server.send("GET / HTTP/1.1\r\nHost: loc");
    let idle = server.send("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let all = async { tokio::join!(silent, slow, idle) };
    let (silent, slow, idle) = tokio::time::timeout(HEADER_TIMEOUT * 2, all).await.unwrap();
    assert!(!silent.contains("200 OK") && !slow.contains("200 OK"), "{silent}{slow}");
    assert_eq!(code(&idle), "200");
}

#[tokio::test]
async fn the_page_says_how_things_are_and_shows_every_flow_in_both_languages() {
    let server = server(samples::cut_off()).await;
    for (lang, sentence) in [
        (Lang::Fr, "cloud-confiance : liaison coupée depuis 18\u{a0}min."),
        (Lang::En, "cloud-confiance cut off for 18\u{a0}min. Nothing lost, 120,000 messages wait."),
    ] {
        let page = server.get(&format!("/?lang={}", lang.tag())).await;
        assert!(page.contains(&format!("<html lang=\"{}\">", lang.tag())));
        assert!(page.contains(sentence), "{page}");
        let body = page.split_once("<tbody").unwrap().1.split_once("</tbody>").unwrap().0;
        assert_eq!(body.matches("<tr").count(), samples::cut_off().flows.len());
        for text in ["style=", "onclick", "<style"] {
            assert!(!page.contains(text), "the content security policy forbids {text}");
        }
        let part = server.get(&format!("/?lang={}&body=1", lang.tag())).await;
        assert!(part.contains(sentence) && !part.contains("<html"), "{part}");
    }
    server.status.send_replace(Arc::new(samples::just_started()));
    let fresh = server.get("/?lang=fr").await;
    assert!(
        fresh.contains("n’a encore reçu aucun message") && !fresh.contains("<svg class=\"sankey"),
        "{fresh}"
    );
    let wanted = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Language: en-GB\r\nConnection: close\r\n\r\n";
    assert!(server.send(wanted).await.contains("<html lang=\"en\">"));
    for asset in ["/assets/console.css", "/assets/console.js"] {
        assert_eq!(code(&server.get(asset).await), "200");
    }
}

#[tokio::test]
async fn hostile_names_stay_text() {
    let server = server(samples::hostile()).await;
    let page = server.get("/?lang=en").await;
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains("<script>"), "{page}");
    assert!(!page.contains("class=\"level &quot;"), "{page}");
}

#[tokio::test]
async fn a_status_that_nobody_keeps_is_not_shown_as_well() {
    let Server { at, status, commands, stop, serving } = server(samples::well()).await;
    drop(status);
    let left = Server { at, status: watch::channel(Arc::default()).0, commands, stop, serving };
    assert_eq!(code(&left.get("/health/ready").await), "503");
    assert!(left.get("/?lang=en").await.contains("no longer kept up to date"));
}

#[tokio::test]
async fn a_stop_lets_an_idle_connection_go_and_ends() {
    let mut server = server(samples::well()).await;
    let mut idle = TcpStream::connect(server.at).await.unwrap();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    server.stop.send(()).unwrap();
    let ended = tokio::time::timeout(DRAIN, server.serving.join_next()).await.unwrap();
    assert!(ended.unwrap().unwrap().is_ok());
}
