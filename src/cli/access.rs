//! `access`: who read or changed what.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::output::{self, field, line, table};
use super::{Context, Failure, client};

#[derive(Debug, Args)]
pub(super) struct Access {
    /// Only what is about this tenant; "" is the gateway and the owner's own
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only what this account or token did; commands on this machine are `console`
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only this, as the list calls it: `show`, `export`, `erase`, `log in`
    #[arg(long, value_name = "WHAT")]
    what: Option<String>,
    /// Only what was done with this conversation, also before it was erased
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

pub(super) fn run(context: &Context, access: &Access) -> Result<(), Failure> {
    let (mut after, mut all): (Option<String>, Vec<Value>) = (None, Vec::new());
    loop {
        let limit = access.limit.saturating_sub(all.len()).to_string();
        let query = client::query(&[
            ("tenant", access.tenant.as_deref()),
            ("who", access.who.as_deref()),
            ("what", access.what.as_deref()),
            ("key", access.key.as_deref()),
            ("after", after.as_deref()),
            ("limit", Some(&limit)),
        ]);
        let page = client::ask(context, Method::GET, &format!("/api/v1/access{query}"))?.success()?;
        all.extend(page.get("access").and_then(Value::as_array).into_iter().flatten().cloned());
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() || all.len() >= access.limit {
            break;
        }
    }
    if context.json {
        output::json(&json!({ "access": all }));
        return Ok(());
    }
    if all.is_empty() {
        line("nothing was found");
        return Ok(());
    }
    let about = |record: &Value| {
        let told = ["key", "name"].into_iter().find(|name| record.get(name).is_some_and(Value::is_string));
        match (told, record.get("erased").and_then(Value::as_str)) {
            (Some(name), _) => field(record, name),
            (None, Some(digest)) => format!("erased ({})", output::printable(digest)),
            (None, None) => "-".to_owned(),
        }
    };
    let row = |record: &Value| {
        let [at, tenant, who, what, from] = ["at", "tenant", "who", "what", "from"].map(|name| field(record, name));
        vec![at, tenant, who, what, about(record), from]
    };
    table(&["at", "tenant", "who", "what", "about", "from"], &all.iter().map(row).collect::<Vec<_>>());
    Ok(())
}
