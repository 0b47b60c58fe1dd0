//! For tests: an HTTP server that answers what a function says, over TCP or TLS, and what runs a future.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Runs a future and what it spawns.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    runtime.block_on(future)
}

/// A server that runs as long as the event loop.
pub(crate) struct Fake {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// `answer` is given the request line, the headers in lower case, and the body; it gives the bytes to send.
    pub(crate) async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Fake {
        Fake::start_at([127, 0, 0, 1].into(), answer).await
    }

    /// The same at another address of this machine.
    pub(crate) async fn start_at(
        address: IpAddr,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Fake {
        Fake::listen(address, None, answer).await
    }

    /// The same over TLS, with a certificate and its key.
    pub(crate) async fn start_tls(
        pem: (&Path, &Path),
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Fake {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from_pem_file(pem.0).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(pem.1).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("usual versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        Fake::listen([127, 0, 0, 1].into(), Some(TlsAcceptor::from(Arc::new(config))), answer).await
    }

    async fn listen(
        address: IpAddr,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Fake {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let request = match &tls {
                    None => serve(stream, &answer).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, &answer).await,
                        Err(_refused) => None,
                    },
                };
                heard.lock().unwrap_or_else(PoisonError::into_inner).extend(request);
            }
        });
        Fake { port, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests that were answered.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An answer with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &impl Fn(&str) -> String,
) -> Option<String> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    stream.read_line(&mut request).await.ok()?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.trim().parse().ok()?;
        }
        request.push_str(&format!("{name}: {}\n", value.trim()));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    request.push_str(&String::from_utf8_lossy(&body));
    let bytes = answer(&request);
    stream.write_all(bytes.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()?;
    Some(request)
}
