//! From an open socket to a session: the start-up message, and answers to the server's requests for
//! authentication.

use std::io;

use bytes::{Buf as _, Bytes};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::frontend;
use secrecy::{ExposeSecret as _, SecretString};

use super::super::failure::{self, ConnectionAttempt};
use super::super::url::Address;
use super::wire::{Frame, Wire};
use super::{STREAM_NAME, ServerError, malformed};
use crate::error::{Error, Result};

/// Login of a connection attempt.
pub(super) struct Login<'a> {
    pub attempt: &'a ConnectionAttempt<'a>,
    pub address: &'a Address,
}

impl Login<'_> {
    /// Returns once the server waits for the first command.
    pub async fn run(&self, wire: &mut Wire) -> Result<()> {
        let failed = |error| self.broken(error);
        wire.send(|out| frontend::startup_message(self.parameters(), out)).await.map_err(failed)?;
        loop {
            let Frame { tag, content, .. } = wire.next().await.map_err(failed)?;
            match tag {
                b'R' => self.answer(wire, content).await?,
                b'E' => return Err(self.refused(&content)),
                b'Z' => return Ok(()),
                // Settings, the cancellation key, notices.
                b'S' | b'K' | b'N' => {}
                _ => return Err(failure::not_postgresql(self.attempt)),
            }
        }
    }

    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let Address { user, database, options, .. } = self.address;
        let fixed = [
            ("user", user.as_str()),
            ("database", database.as_str()),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", STREAM_NAME),
        ];
        fixed.into_iter().chain(options.as_deref().map(|options| ("options", options)))
    }

    async fn answer(&self, wire: &mut Wire, mut request: Bytes) -> Result<()> {
        match request.try_get_i32() {
            Ok(0) => Ok(()),
            Ok(3) => self.send_password(wire, self.password()?.expose_secret().as_bytes()).await,
            Ok(5) => {
                let salt = <[u8; 4]>::try_from(&request[..]).map_err(|_| self.broken(malformed("salt")))?;
                let password = self.password()?.expose_secret().as_bytes();
                self.send_password(wire, md5_hash(self.address.user.as_bytes(), password, salt).as_bytes())
                    .await
            }
            Ok(10) => self.scram(wire, &request).await,
            Ok(_) => Err(failure::unknown_authentication(self.attempt)),
            Err(_) => Err(failure::not_postgresql(self.attempt)),
        }
    }

    async fn send_password(&self, wire: &mut Wire, password: &[u8]) -> Result<()> {
        wire.send(|out| frontend::password_message(password, out)).await.map_err(|error| self.broken(error))
    }

    fn broken(&self, error: io::Error) -> Error {
        failure::broken(self.attempt, &error)
    }

    /// Logs in with SCRAM. `postgres-protocol` prepares the password as libpq does (SASLprep).
    async fn scram(&self, wire: &mut Wire, mechanisms: &[u8]) -> Result<()> {
        let failed = |error| self.broken(error);
        let refused = |error: io::Error| failure::authentication(self.attempt, &error.to_string());
        let mechanism = sasl::SCRAM_SHA_256;
        if !mechanisms.split(|byte| *byte == 0).any(|offer| offer == mechanism.as_bytes()) {
            return Err(failure::unknown_authentication(self.attempt));
        }
        // No channel binding, because the TLS library does not hand out the data to bind to.
        let binding = sasl::ChannelBinding::unsupported();
        let mut scram = ScramSha256::new(self.password()?.expose_secret().as_bytes(), binding);
        wire.send(|out| frontend::sasl_initial_response(mechanism, scram.message(), out))
            .await
            .map_err(failed)?;
        let challenge = self.expect(wire, 11).await?;
        scram.update(&challenge).map_err(refused)?;
        wire.send(|out| frontend::sasl_response(scram.message(), out)).await.map_err(failed)?;
        let proof = self.expect(wire, 12).await?;
        scram.finish(&proof).map_err(refused)
    }

    async fn expect(&self, wire: &mut Wire, step: i32) -> Result<Bytes> {
        let Frame { tag, mut content, .. } =
            wire.next().await.map_err(|error| failure::broken(self.attempt, &error))?;
        match tag {
            b'R' if content.try_get_i32() == Ok(step) => Ok(content),
            b'E' => Err(self.refused(&content)),
            _ => Err(failure::not_postgresql(self.attempt)),
        }
    }

    fn password(&self) -> Result<&SecretString> {
        self.address.password.as_ref().ok_or_else(|| failure::no_password(self.attempt))
    }

    fn refused(&self, content: &[u8]) -> Error {
        failure::server_said(self.attempt, &ServerError::parse(content).answer())
    }
}
