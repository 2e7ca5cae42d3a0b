//! `users list|add|remove|password|reset|sessions|revoke`, `users passkeys list|remove` and `tokens list|create|revoke`.
//!
//! A password comes from a prompt or a file, never from the command line, which other users of the machine see.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::output::{self, field, line, table};
use super::{Context, Exit, Failure, backup, client};
use crate::document::Secret;

#[derive(Debug, Subcommand)]
pub(super) enum Users {
    /// List who may use the admin page
    List,
    /// Add an account
    Add(Add),
    /// Remove an account and log it out
    Remove(Name),
    /// Give an account another password and log it out
    Password(NewPassword),
    /// Log administrators out and make a claim code, with which one gets a new password
    Reset(Reset),
    /// List who is logged in
    Sessions,
    /// Log out one session
    Revoke(Session),
    /// Passkeys of an account; they are added on the admin page
    #[command(subcommand)]
    Passkeys(Passkeys),
}

#[derive(Debug, Subcommand)]
pub(super) enum Passkeys {
    /// List the passkeys of an account
    List(Name),
    /// Remove one that was lost; without any left, the password is enough again
    Remove(Passkey),
}

#[derive(Debug, Args)]
pub(super) struct Passkey {
    /// What the account is called
    #[arg(value_name = "NAME")]
    name: String,
    /// As `users passkeys list` prints it
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Tokens {
    /// List the tokens that programs use the admin API with
    List,
    /// Make a token; it is shown once
    Create(Create),
    /// End a token
    Revoke(Name),
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// What it is called
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    rights: Rights,
    #[command(flatten)]
    password: Password,
}

#[derive(Debug, Args)]
pub(super) struct NewPassword {
    /// What the account is called
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    password: Password,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What it is called, in lists and in the access log
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    rights: Rights,
    /// Days until it ends [default: until it is revoked]
    #[arg(long, value_name = "N")]
    days: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// What it is called
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Session {
    /// As `users sessions` prints it
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Args)]
pub(super) struct Reset {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct Rights {
    /// Everything, or looking only
    #[arg(long, value_enum)]
    role: Role,
    /// Only of this tenant [default: of all, and of the gateway itself]
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Admin,
    Support,
}

#[derive(Debug, Args)]
struct Password {
    /// Read the password from a file instead of asking for it
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) fn run(context: &Context, command: Users) -> Result<(), Failure> {
    match command {
        Users::List => {
            let columns = ["name", "role", "tenant", "created", "sessions", "passkeys"];
            list(context, "/api/v1/users", "users", "nobody has claimed this box yet", &columns)
        }
        Users::Sessions => {
            let columns = ["id", "user", "from", "created", "used", "expires"];
            list(context, "/api/v1/users/sessions", "sessions", "nobody is logged in", &columns)
        }
        Users::Add(Add { name, rights, password }) => {
            let password = read(&password)?;
            let mut body = rights.body(&name);
            body.insert("password".to_owned(), json!(password.expose()));
            let done = send(context, Method::POST, "/api/v1/users", Some(&Value::Object(body)))?;
            say(context, &done, &format!("added: {name}"))
        }
        Users::Remove(Name { name }) => {
            let done = send(context, Method::DELETE, &of("users", &name), None)?;
            say(context, &done, &format!("removed: {name}"))
        }
        Users::Password(NewPassword { name, password }) => {
            let body = json!({ "password": read(&password)?.expose() });
            let done = send(context, Method::POST, &format!("{}/password", of("users", &name)), Some(&body))?;
            say(context, &done, &format!("changed: {name} has another password and is logged out"))
        }
        Users::Revoke(Session { id }) => {
            let done = send(context, Method::DELETE, &of("users/sessions", &id), None)?;
            say(context, &done, &format!("logged out: {id}"))
        }
        Users::Reset(Reset { yes }) => reset(context, yes),
        Users::Passkeys(Passkeys::List(Name { name })) => {
            let (path, empty) = (format!("{}/passkeys", of("users", &name)), format!("{name} has no passkey"));
            list(context, &path, "passkeys", &empty, &["id", "name", "site", "created", "used"])
        }
        Users::Passkeys(Passkeys::Remove(Passkey { name, id })) => {
            let path = format!("{}/passkeys/{}", of("users", &name), client::encoded(&id));
            let done = send(context, Method::DELETE, &path, None)?;
            say(context, &done, &format!("removed: {}, of {name}", field(&done, "removed")))
        }
    }
}

pub(super) fn run_tokens(context: &Context, command: Tokens) -> Result<(), Failure> {
    match command {
        Tokens::List => {
            let columns = ["name", "role", "tenant", "created", "used", "expires"];
            list(context, "/api/v1/tokens", "tokens", "there is no token", &columns)
        }
        Tokens::Create(Create { name, rights, days }) => {
            let mut body = rights.body(&name);
            if let Some(days) = days {
                body.insert("days".to_owned(), json!(days));
            }
            let done = send(context, Method::POST, "/api/v1/tokens", Some(&Value::Object(body)))?;
            say(context, &done, &format!("token: {}\nkeep it now, it is not shown again", field(&done, "token")))
        }
        Tokens::Revoke(Name { name }) => {
            let done = send(context, Method::DELETE, &of("tokens", &name), None)?;
            say(context, &done, &format!("revoked: {name}"))
        }
    }
}

fn reset(context: &Context, yes: bool) -> Result<(), Failure> {
    if !yes {
        match output::ask("Log all administrators out and make a new claim code? Type \"yes\":") {
            None => return Err(Exit::Usage.say("this would log all administrators out; add --yes to do it")),
            Some(answer) if answer == "yes" => {}
            Some(_) => return Err(Exit::Usage.say("nothing was changed")),
        }
    }
    let done = send(context, Method::POST, "/api/v1/users/reset", None)?;
    let code = field(&done, "claim_code");
    say(
        context,
        &done,
        &format!(
            "claim code: {code}\nopen the admin page from the local network and enter it, with the name of an \
             administrator and a new password"
        ),
    )
}

impl Rights {
    fn body(self, name: &str) -> serde_json::Map<String, Value> {
        let role = match self.role {
            Role::Admin => "admin",
            Role::Support => "support",
        };
        let mut body = serde_json::Map::new();
        body.insert("name".to_owned(), json!(name));
        body.insert("role".to_owned(), json!(role));
        if let Some(tenant) = self.tenant {
            body.insert("tenant".to_owned(), json!(tenant));
        }
        body
    }
}

fn read(password: &Password) -> Result<Secret, Failure> {
    if let Some(file) = &password.password_file {
        return backup::read_key(file);
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Exit::Usage.say("there is no terminal to ask for the password; name a file with --password-file FILE")
        );
    }
    let ask = |question| output::ask_hidden(question).map_err(|error| Exit::Usage.because(error));
    let password = ask("new password: ")?;
    if ask("the same again: ")? != password {
        return Err(Exit::Usage.say("the two passwords differ; nothing was changed"));
    }
    Ok(password)
}

/// The path of one of them.
fn of(what: &str, name: &str) -> String {
    format!("/api/v1/{what}/{}", client::encoded(name))
}

fn send(context: &Context, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
    client::ask_with(context, method, path, body)?.success()
}

fn say(context: &Context, done: &Value, sentence: &str) -> Result<(), Failure> {
    if context.json {
        output::json(done);
    } else {
        line(sentence);
    }
    Ok(())
}

fn list(context: &Context, path: &str, member: &str, nobody: &str, columns: &[&str]) -> Result<(), Failure> {
    let found = send(context, Method::GET, path, None)?;
    if context.json {
        output::json(&found);
        return Ok(());
    }
    let rows = found.get(member).and_then(Value::as_array).into_iter().flatten();
    let rows: Vec<Vec<String>> = rows.map(|row| columns.iter().map(|name| field(row, name)).collect()).collect();
    if rows.is_empty() {
        line(nobody);
    } else {
        table(columns, &rows);
    }
    Ok(())
}
