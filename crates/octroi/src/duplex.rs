//! A connection's bytes in both directions, whatever carries them: TCP, TLS,
//! WebSocket.

use tokio::io::{AsyncRead, AsyncWrite};

/// Reads and writes.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}
