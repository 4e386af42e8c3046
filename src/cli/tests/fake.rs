//! A gateway that answers what a test tells it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::cli::connect::ConnectArgs;
use crate::cli::http::Api;

/// One request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET /admin/keys`
    pub line: String,
    pub key: String,
    pub body: String,
}

#[derive(Clone)]
pub struct Fake {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// The key that [`Fake::api`] sends.
pub const KEY: &str = "an-admin-key-of-the-test";

impl Fake {
    /// Answers each request with what `answer` makes of its method and path. Its thread ends with
    /// the test's process.
    pub fn start(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&stream);
                let (status, body) = answer(&request.line);
                log.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\nlocation: /elsewhere\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(body.as_bytes()).unwrap();
            }
        });
        Self { url, asked }
    }

    pub fn args(&self) -> ConnectArgs {
        ConnectArgs {
            url: Some(self.url.parse().unwrap()),
            ..ConnectArgs::default()
        }
    }

    pub fn api(&self) -> Api {
        let nowhere = std::env::temp_dir();
        let (target, key) = self
            .args()
            .target(&super::source(&nowhere, &[("ADMIN_KEY", KEY)]))
            .unwrap();
        Api::new(target, &key).unwrap()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn read(stream: &std::net::TcpStream) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-api-key" => key = value.to_owned(),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Asked {
        line: first.trim_end().trim_end_matches(" HTTP/1.1").to_owned(),
        key,
        body: String::from_utf8(body).unwrap(),
    }
}
