//! MQTT over WebSocket (RFC 6455, subprotocol `mqtt`): a byte stream out of
//! binary messages, however packets are cut over them [MQTT-6.0.0-2]. The
//! protocol itself is `tungstenite`'s; what a message may weigh, and which web
//! pages may connect, is said here.
//!
//! A browser names the page that connects (`Origin`); any other client names
//! none, and is judged by its identity alone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// The one subprotocol [MQTT-6.0.0-3, -4].
const MQTT: &str = "mqtt";

/// A WebSocket as the stream of the bytes in its binary messages.
#[derive(Debug)]
pub struct WebSocket<S> {
    messages: WebSocketStream<S>,
    /// Of the last message: what was not read.
    unread: Bytes,
}

/// The server's handshake. `origins`: pages that may connect; `most`: bytes of a message.
///
/// # Errors
/// The client was told why, with an HTTP status.
pub async fn accept<S>(socket: S, origins: &[String], most: usize) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let judge = |request: &Request, response: Response| judge(request, response, origins);
    let config = WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most));
    let messages = accept_hdr_async_with_config(socket, judge, Some(config)).await?;
    Ok(WebSocket { messages, unread: Bytes::new() })
}

#[expect(clippy::result_large_err, reason = "the signature is the library's")]
fn judge(request: &Request, mut response: Response, origins: &[String]) -> Result<Response, ErrorResponse> {
    let values = |name| request.headers().get_all(name).iter();
    let allowed = |origin: &HeaderValue| origins.iter().any(|known| origin.as_bytes() == known.as_bytes());
    if !values(ORIGIN).all(allowed) {
        return Err(refusal(StatusCode::FORBIDDEN, "no page of this origin may connect: see `origins`"));
    }
    let offered = values(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    if !offered.flat_map(|list| list.split(',')).any(|name| name.trim() == MQTT) {
        return Err(refusal(StatusCode::BAD_REQUEST, "the subprotocol `mqtt` is not offered"));
    }
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(MQTT));
    Ok(response)
}

fn refusal(status: StatusCode, why: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(why.to_owned()));
    *response.status_mut() = status;
    response
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.messages).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // Answered by the library, with what is written next.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                // [MQTT-6.0.0-1]
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let len = self.unread.len().min(into.remaining());
        into.put_slice(self.unread.get(..len).unwrap_or_default());
        self.unread.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.messages).poll_ready(context)).map_err(io_error)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        Pin::new(&mut self.messages).start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_flush(context).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_close(context).map_err(io_error)
    }
}

fn io_error(error: Error) -> io::Error {
    if let Error::Io(error) = error { error } else { io::Error::new(io::ErrorKind::InvalidData, error) }
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_tungstenite::client_async;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    use super::*;

    type Joined = (Result<WebSocket<DuplexStream>, Error>, Result<WebSocketStream<DuplexStream>, Error>);

    /// Both ends of a connection whose client sends these headers.
    async fn join(headers: &[(&'static str, &str)], origins: &[String]) -> Joined {
        let (client, server) = duplex(1 << 16);
        let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let client = async { client_async(request, client).await.map(|(client, _)| client) };
        tokio::join!(accept(server, origins, 100), client)
    }

    const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "mqttv3.1, mqtt");

    #[tokio::test]
    async fn packets_may_be_cut_over_messages_in_any_way() {
        let (server, client) = join(&[PROTOCOL], &[]).await;
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        for piece in ["one ", "", "packet", " and the next"] {
            client.send(Message::Binary(Bytes::from_static(piece.as_bytes()))).await.unwrap();
        }
        client.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
        client.send(Message::Binary(Bytes::from_static(b"."))).await.unwrap();
        client.close(None).await.unwrap();
        let mut read = String::new();
        server.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "one packet and the next.");
    }

    #[tokio::test]
    async fn what_is_written_comes_as_binary_messages() {
        let (server, client) = join(&[PROTOCOL], &[]).await;
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        server.write_all(b"ack").await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"ack")));
        server.shutdown().await.unwrap();
        assert!(matches!(client.next().await, Some(Ok(Message::Close(_)))));
    }

    #[tokio::test]
    async fn text_and_messages_above_the_limit_end_the_connection() {
        for message in [Message::text("text"), Message::Binary(Bytes::from(vec![0; 101]))] {
            let (server, client) = join(&[PROTOCOL], &[]).await;
            client.unwrap().send(message.clone()).await.unwrap();
            let error = server.unwrap().read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{message:?}");
        }
    }

    #[tokio::test]
    async fn the_subprotocol_is_mqtt_or_there_is_no_connection() {
        for headers in [&[][..], &[("sec-websocket-protocol", "mqttv3.1")]] {
            let (server, client) = join(headers, &[]).await;
            assert!(server.is_err());
            let Err(Error::Http(response)) = client else { panic!("no refusal") };
            assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        }
    }

    #[tokio::test]
    async fn only_pages_of_the_list_connect_and_what_is_no_page_does() {
        let origins = ["https://console.example".to_owned()];
        for (origin, allowed) in [
            (Some("https://console.example"), true),
            (Some("https://console.example.evil"), false),
            (Some("http://console.example"), false),
            (Some("null"), false),
            (None, true),
        ] {
            let headers: Vec<_> =
                [PROTOCOL].into_iter().chain(origin.map(|origin| ("origin", origin))).collect();
            let (server, client) = join(&headers, &origins).await;
            assert_eq!((server.is_ok(), client.is_ok()), (allowed, allowed), "{origin:?}");
            if let Err(Error::Http(response)) = client {
                assert_eq!(response.status(), StatusCode::FORBIDDEN);
            }
        }
    }
}
