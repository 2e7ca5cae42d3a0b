//! `route explain`: why this agent, without a running gateway.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::output::{self, line};
use super::{Context, Exit, Failure, config};
use crate::channel::registry;
use crate::config::Settings;
use crate::id::{ChannelType, EntryId, OpaqueId, TenantId};
use crate::message::{ChatKind, Identity};
use crate::route::Router;
use crate::session::{Address, Resolver};

#[derive(Debug, Subcommand)]
pub(super) enum Route {
    /// Say which route wins for an address, or for messages, and which later ones match too
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// `channel:server:room[:thread]:user`, with or without `tenant-<id>-` in front
    #[arg(required_unless_present = "message", conflicts_with = "message")]
    address: Option<String>,
    /// Identity bundles, one JSON object a line; `-` reads standard input. Prints one JSON object a line
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,
    /// What kind of message the address is of: direct, group or thread [default: thread with four ids, else direct]
    #[arg(long, conflicts_with = "message")]
    kind: Option<String>,
    /// The configuration [default: the one in the home]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(context: &Context, command: Route) -> Result<(), Failure> {
    let Route::Explain(explain) = command;
    let settings = config::load(context, explain.config.as_deref())?.settings;
    match (explain.address, explain.message) {
        (Some(address), _) => explain_address(context, &settings, &address, explain.kind),
        (None, Some(file)) => explain_messages(&settings, &file),
        (None, None) => Err(Exit::Usage.say("name an address, or a file with --message")),
    }
}

fn explain_address(context: &Context, settings: &Settings, text: &str, kind: Option<String>) -> Result<(), Failure> {
    let address = Address::parse(text).ok_or_else(|| {
        Exit::Usage.say(format!("{text:?} is no address; write one like slack:T09ABC123:C04XYZ789:U07DEF456"))
    })?;
    let tenant = address.tenant().and_then(|tenant| TenantId::new(tenant).ok());
    let router = settings.router();
    let routed = router.route(&address, tenant.as_ref());
    let later: Vec<&str> = router.matching(&address).skip(1).map(crate::route::Route::as_str).collect();
    let route = routed.route.map(crate::route::Route::as_str);
    let bundle = bundle(settings, &address, tenant, kind);
    let kind = bundle.kind.clone();
    let resolved = identity(settings, bundle).and_then(|identity| Ok(settings.resolver().resolve(&identity)?));
    if context.json {
        let key = resolved.as_ref().ok().map(|resolved| resolved.session_key.as_str());
        output::json(&json!({
            "kind": kind,
            "session_key": key,
            "rule": resolved.as_ref().ok().map(|resolved| resolved.rule.to_string()),
            "error": resolved.as_ref().err().map(|error| format!("{error:#}")),
            "agent": routed.agent.as_str(),
            "route": route,
            "later": later,
        }));
        return Ok(());
    }
    match resolved {
        Ok(resolved) => {
            line(&format!("session key: {} (of a {kind} message)", resolved.session_key));
            line(&format!("rule: {}", resolved.rule));
        }
        Err(error) => line(&format!("session key: none of a {kind} message: {error:#}")),
    }
    line(&format!("agent: {}", routed.agent));
    line(&format!("route: {}", route.unwrap_or("none matches; this is the default agent")));
    later.iter().for_each(|route| line(&format!("would match too: {route}")));
    Ok(())
}

/// Reads the ids of an address by their number: the last is the user, in front of it are the thread, room and
/// server that there are. Where one entry only has such addresses, the message is taken to be of that entry.
fn bundle(settings: &Settings, address: &Address, tenant: Option<TenantId>, kind: Option<String>) -> Bundle {
    let mut entries =
        settings.channels.iter().filter(|entry| entry.channel.as_str() == address.tag() && entry.tenant == tenant);
    let entry = entries.next().filter(|_| entries.next().is_none()).map(|entry| entry.id.to_string());
    let mut ids = address.ids().unwrap_or_default();
    let kind = kind.unwrap_or_else(|| if ids.len() > 3 { "thread" } else { "direct" }.to_owned());
    // A chat that is its own peer, such as Telegram's, has no user.
    let is_room = matches!(ids.as_slice(), [only] if only.starts_with("chat_") || kind == "group");
    let user_id = if is_room { None } else { ids.pop() };
    let thread_id = if kind == "thread" { ids.pop() } else { None };
    let channel_id = ids.pop();
    Bundle {
        channel: Some(address.tag().to_owned()),
        entry,
        account: None,
        kind,
        parent_kind: None,
        server_id: ids.pop(),
        channel_id,
        thread_id,
        user_id,
        tenant_id: tenant.map(|tenant| tenant.to_string()),
        workspace_id: None,
    }
}

fn explain_messages(settings: &Settings, file: &PathBuf) -> Result<(), Failure> {
    let (resolver, router) = (settings.resolver(), settings.router());
    let reader: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(file).with_context(|| format!("{} cannot be read", file.display()));
        Box::new(BufReader::new(opened.map_err(|error| Exit::Usage.because(error))?))
    };
    for text in reader.lines() {
        let text = text.map_err(|error| Exit::Usage.because(anyhow!(error).context("the messages cannot be read")))?;
        if !text.trim().is_empty() {
            let explained = explain_message(settings, &resolver, &router, &text);
            output::json_line(&explained.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })));
        }
    }
    Ok(())
}

/// The bundle of SPEC §7.3.
#[derive(Debug, Deserialize)]
struct Bundle {
    channel: Option<String>,
    entry: Option<String>,
    account: Option<String>,
    kind: String,
    parent_kind: Option<String>,
    server_id: Option<String>,
    channel_id: Option<String>,
    thread_id: Option<String>,
    user_id: Option<String>,
    tenant_id: Option<String>,
    workspace_id: Option<String>,
}

fn explain_message(settings: &Settings, resolver: &Resolver, router: &Router, text: &str) -> anyhow::Result<Value> {
    let bundle: Bundle = serde_json::from_str(text).context("this is no identity bundle")?;
    let identity = identity(settings, bundle)?;
    let resolved = resolver.resolve(&identity)?;
    let address = Address::of(&identity);
    let routed = router.route(&address, identity.tenant.as_ref());
    let later: Vec<&str> = router.matching(&address).skip(1).map(crate::route::Route::as_str).collect();
    Ok(json!({
        "session_key": resolved.session_key.as_str(),
        "rule": resolved.rule.to_string(),
        "agent": routed.agent.as_str(),
        "route": routed.route.map(crate::route::Route::as_str),
        "later": later,
    }))
}

fn identity(settings: &Settings, bundle: Bundle) -> anyhow::Result<Identity> {
    let id = |field: &str, id: Option<String>| id.map(OpaqueId::new).transpose().with_context(|| field.to_owned());
    let entry = match &bundle.entry {
        None => None,
        Some(name) => {
            let found = settings.channels.iter().find(|entry| entry.id.as_str() == name);
            Some(found.ok_or_else(|| anyhow!("there is no channel entry {name:?}"))?)
        }
    };
    let channel = bundle.channel.as_deref().map(registry::key_tag);
    let channel = match (channel, entry) {
        (Some(channel), Some(entry)) if entry.channel.as_str() != channel => {
            bail!("the entry {:?} is of type {}, not {channel}", entry.id.as_str(), entry.channel)
        }
        (_, Some(entry)) => entry.channel.clone(),
        (Some(channel), None) => ChannelType::new(channel)?,
        (None, None) => bail!("channel is missing: the type, such as \"slack\""),
    };
    let kind = |text: &str| ChatKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    let kind_of = |text: &str| kind(text).ok_or_else(|| anyhow!("{text:?} is not one of direct, group, thread"));
    let stated = bundle.parent_kind.as_deref().map(kind_of).transpose()?;
    let kind = kind_of(&bundle.kind)?;
    let (tenant, workspace) = match entry {
        Some(entry) => (entry.tenant.clone(), entry.workspace.clone()),
        None => (
            bundle.tenant_id.map(TenantId::new).transpose().context("tenant_id")?,
            id("workspace_id", bundle.workspace_id)?,
        ),
    };
    Ok(Identity {
        entry: match entry {
            Some(entry) => entry.id.clone(),
            None => EntryId::new(channel.as_str())?,
        },
        channel,
        account: id("account", bundle.account)?.or_else(|| entry.and_then(|entry| entry.account.clone())),
        tenant,
        workspace,
        server: id("server_id", bundle.server_id)?,
        room: id("channel_id", bundle.channel_id)?,
        thread: id("thread_id", bundle.thread_id)?,
        user: id("user_id", bundle.user_id)?,
        kind,
        parent: match kind {
            ChatKind::Thread => stated.unwrap_or(ChatKind::Group),
            ChatKind::Direct | ChatKind::Group => kind,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of a message with this address under the embedded defaults.
    fn check(address: &str, kind: Option<&str>, expected: Result<&str, &str>) {
        let (settings, address) = (Settings::embedded(), Address::parse(address).unwrap());
        let tenant = address.tenant().and_then(|tenant| TenantId::new(tenant).ok());
        let bundle = bundle(&settings, &address, tenant, kind.map(str::to_owned));
        let identity = identity(&settings, bundle).unwrap();
        assert_eq!(Address::of(&identity).qualified(), address.qualified(), "the same message");
        let resolved = settings.resolver().resolve(&identity);
        let key = resolved.map(|resolved| resolved.session_key.to_string()).map_err(|error| error.to_string());
        assert_eq!(key.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn the_ids_of_an_address_are_read_by_their_number() {
        check("wa:+15551234567", None, Ok("wa:+15551234567"));
        check("telegram:chat_5839201", None, Ok("telegram:chat_5839201"));
        check("slack:T09ABC123:C04XYZ789:U07DEF456", None, Ok("slack:T09ABC123:C04XYZ789:U07DEF456"));
        check("slack:T09ABC123:C04XYZ789:U07DEF456", Some("group"), Ok("slack:T09ABC123:C04XYZ789"));
        check("slack:T1:C1:t1:U1", None, Ok("slack:T1:C1:thread=t1"));
        check("matrix:!room_abc:server:@user:server", None, Ok("matrix:!room_abc:server:@user:server"));
        check("tenant-42-wa:+1555", None, Ok("tenant-42-wa:+1555"));
        check("webhook:a%3Ab", None, Ok("webhook:a%3Ab"));
        check("webhook:u1", Some("thread"), Err("a thread message needs a thread_id"));
    }
}
