//! The web client, embedded: that one file, the program, serves it.
//!
//! What the build names by its content is cached for ever, the page itself asks each time.
//! Where the build left a compressed twin (`x.js.br`, `x.js.gz`) and the browser takes it,
//! the twin is sent. Knows nothing of what the client does.

use std::borrow::Cow;
use std::fmt::Write as _;

use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, VARY,
};
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::admit::API;
use super::problem::{Kind, Problem};

/// The built client; empty when it was not built before the program.
#[derive(RustEmbed)]
#[folder = "../client-web/dist"]
#[allow_missing = true]
struct Built;

/// The page that every address of the client shows.
const PAGE: &str = "index.html";

/// What stands there when the client was not built.
const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Rally</title>\
    <h1>Rally runs</h1><p>Its web client was not built into this program. Run \
    <code>cargo xtask run</code>, or <code>npm ci &amp;&amp; npm run build</code> in \
    <code>client-web</code> and build the server again. The API is described at \
    <a href=/api/openapi.json>/api/openapi.json</a>.";

/// Encodings in the order in which they are preferred, with the ending of their twins.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// Answers everything that has no route of its own.
pub async fn serve(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.path();
    if path.starts_with(API) || path == "/api" {
        return Err(Problem::new(
            Kind::NotFound,
            "there is no such address: see /api/openapi.json",
        ));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method(super::READ));
    }
    let name = path.trim_start_matches('/');
    if let Some(file) = Built::get(name).filter(|_| !name.is_empty()) {
        return Ok(send(&request, name, file));
    }
    // Addresses of the client's own have no ending; what has one was meant to be a file.
    if name.rsplit('/').next().is_some_and(|last| last.contains('.')) && name != PAGE {
        return Err(Problem::new(Kind::NotFound, "there is no such file"));
    }
    Ok(match Built::get(PAGE) {
        Some(page) => send(&request, PAGE, page),
        None => HttpResponse::Ok().content_type("text/html; charset=utf-8").body(NOT_BUILT),
    })
}

fn send(request: &HttpRequest, name: &str, plain: EmbeddedFile) -> HttpResponse {
    let (file, encoding) = match twin(request, name) {
        Some((file, encoding)) => (file, Some(encoding)),
        None => (plain, None),
    };
    let tag = etag(&file);
    let known = request.headers().get_all(IF_NONE_MATCH);
    let unchanged = known.filter_map(|tags| tags.to_str().ok()).any(|tags| {
        tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*")
    });
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, tag));
    response.insert_header((VARY, "accept-encoding"));
    response.insert_header((CACHE_CONTROL, caching(name)));
    if unchanged {
        return response.finish();
    }
    if let Some(encoding) = encoding {
        response.insert_header((CONTENT_ENCODING, encoding));
    }
    response.content_type(content_type(name));
    match file.data {
        Cow::Borrowed(bytes) => response.body(bytes),
        Cow::Owned(bytes) => response.body(bytes),
    }
}

fn twin(request: &HttpRequest, name: &str) -> Option<(EmbeddedFile, &'static str)> {
    let accepted = request.headers().get(ACCEPT_ENCODING)?.to_str().ok()?;
    let takes = |encoding: &str| {
        accepted.split(',').any(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            name.trim().eq_ignore_ascii_case(encoding)
                && !matches!(weight.replace(' ', "").as_str(), "q=0" | "q=0.0")
        })
    };
    let (encoding, ending) = ENCODINGS.into_iter().find(|(encoding, _)| takes(encoding))?;
    Some((Built::get(&format!("{name}{ending}"))?, encoding))
}

fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in &hash[..16] {
        write!(tag, "{byte:02x}").expect("a string takes everything");
    }
    tag.push('"');
    tag
}

/// Files under `assets/` carry a hash of their content in their name.
fn caching(name: &str) -> &'static str {
    if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" }
}

fn content_type(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let text =
        guess.type_() == "text" || guess.subtype() == "javascript" || guess.subtype() == "json";
    if text { format!("{guess}; charset=utf-8") } else { guess.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_by_its_content_is_cached_for_ever() {
        assert!(caching("assets/index-DiwrgTda.js").contains("immutable"));
        assert_eq!(caching(PAGE), "no-cache");
    }

    #[test]
    fn text_is_sent_as_utf_8() {
        assert_eq!(content_type("a.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("index.html"), "text/html; charset=utf-8");
        assert_eq!(content_type("a.png"), "image/png");
        assert_eq!(content_type("LICENSE"), "application/octet-stream");
    }
}
