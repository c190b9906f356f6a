//! The only owners of hyper and rustls: server, client, TLS and streamed bodies.
