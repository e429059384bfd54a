//! The console's frame: language, head, navigation, footer, assets.
//!
//! A page is a module under `console/` with a `body(status, lang) -> Markup`,
//! a line in [`PAGES`] and a route in `admin.rs`. Pages are read without
//! script; the script only fetches the same page's body again.
//!
//! INVARIANT: all text of others reaches a page through maud, which escapes it.
//! No inline style or script: the content security policy forbids both.

mod brokers;
mod flows;
mod overview;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use super::Shared;
use crate::status::Status;
use crate::words::{self, Lang, Text};

const STYLESHEET: &str = include_str!("../../assets/console.css");
const SCRIPT: &str = include_str!("../../assets/console.js");
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Cpath d='M1 15V7a7 7 0 0 1 14 0v8h-4V8a3 3 0 0 0-6 0v7z' fill='%231d5f7a'/%3E%3C/svg%3E";

/// A page of the console.
struct Page {
    path: &'static str,
    title: Text,
}

const OVERVIEW: Page = Page { path: "/", title: words::OVERVIEW };

/// What the navigation shows: pages that exist.
const PAGES: &[&Page] = &[&OVERVIEW];

#[derive(Debug, Default, Deserialize)]
pub(super) struct PageQuery {
    lang: Option<String>,
    /// The page's body alone, for the script.
    #[serde(default)]
    body: Option<String>,
}

pub(super) async fn overview_page(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<PageQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    // A page is worth more than a complaint about its address.
    let query = query.map_or_else(|_| PageQuery::default(), |Query(query)| query);
    let lang = language(&query, &headers);
    let status = shared.status();
    let body = overview::body(&status, shared.status_is_kept(), lang);
    let page = if query.body.is_some() { body } else { frame(&OVERVIEW, &status, lang, &body) };
    let head = [(header::VARY, "Accept-Language"), (header::CONTENT_LANGUAGE, lang.tag())];
    (head, Html(page.into_string())).into_response()
}

pub(super) async fn stylesheet() -> Response {
    asset("text/css; charset=utf-8", STYLESHEET)
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

fn language(query: &PageQuery, headers: &HeaderMap) -> Lang {
    let chosen = query.lang.as_deref().and_then(Lang::from_tag);
    chosen.unwrap_or_else(|| {
        let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|wanted| wanted.to_str().ok());
        words::accepted(wanted.unwrap_or_default())
    })
}

fn frame(page: &Page, status: &Status, lang: Lang, body: &Markup) -> Markup {
    let other = lang.other();
    html! {
        (DOCTYPE)
        html lang=(lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title.in_(lang)) " · " (status.hub) " · Octroi" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/assets/console.css";
                script src="/assets/console.js" defer {}
            }
            body {
                a class="skip" href="#content" { (words::SKIP.in_(lang)) }
                header class="top" {
                    p class="brand" {
                        svg class="gate" viewBox="0 0 16 16" aria-hidden="true" focusable="false" {
                            path d="M1 15V7a7 7 0 0 1 14 0v8h-4V8a3 3 0 0 0-6 0v7z" {}
                        }
                        strong { "Octroi" }
                        span class="hub" { (status.hub) }
                    }
                    nav aria-label=(words::NAV.in_(lang)) {
                        ul {
                            @for listed in PAGES {
                                li {
                                    a href={ (listed.path) "?lang=" (lang.tag()) }
                                        aria-current=[(listed.path == page.path).then_some("page")]
                                        { (listed.title.in_(lang)) }
                                }
                            }
                        }
                    }
                    div class="tools" {
                        button type="button" id="pause" hidden
                            data-resume=(words::RESUME.in_(lang)) { (words::PAUSE.in_(lang)) }
                        a href={ (page.path) "?lang=" (other.tag()) } lang=(other.tag()) hreflang=(other.tag())
                            { (words::THIS_LANGUAGE.in_(other)) }
                    }
                }
                main id="content" tabindex="-1" {
                    h1 { (page.title.in_(lang)) }
                    p id="silence" role="status" data-text=(words::NO_ANSWER.in_(lang)) {}
                    div id="live" { (body) }
                }
                footer {
                    p { "Octroi " (status.program) }
                    @if !status.started.is_empty() {
                        p { (words::STARTED.in_(lang)) " " (words::day(lang, &status.started)) }
                    }
                    p { a href="/api/v1/status" { "/api/v1/status" } " · " a href="/metrics" { "/metrics" } }
                }
            }
        }
    }
}
