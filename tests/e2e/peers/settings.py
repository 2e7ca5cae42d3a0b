"""Configuration files for the tests, in the native syntax."""

BASE = """
default_agent = "reception"
{top}
[gateway]
port = {port}
bind = "127.0.0.1"

[session]
dm_scope = "{dm_scope}"
{session}

[[providers]]
name = "model"
kind = "{kind}"
base_url = "{model_url}"
api_key = "${{MODEL_KEY}}"
model = "echo"

[[agents]]
name = "reception"
provider = "model"
{more}
"""

MODEL_KEY = "sk-model-test"


def settings(port, model_url, *more, kind="openai", dm_scope="per-channel-peer", top="", session=""):
    """One provider, one agent named `reception`, and whatever sections `more` adds."""
    parts = {"port": port, "model_url": model_url, "kind": kind, "dm_scope": dm_scope, "top": top, "session": session}
    return BASE.format(more="\n".join(more), **parts)


def webhook(peer, tenant="42", secret="${HOOK_SECRET}"):
    tenant_line = f'tenant_id = "{tenant}"\n' if tenant else ""
    return f"""
[[channels]]
id = "{peer.entry}"
type = "webhook"
{tenant_line}secret = "{secret}"
reply_url = "{peer.url}/replies"
"""


def webchat(entry="webchat", tenant="42"):
    return f"""
[[channels]]
id = "{entry}"
type = "webchat"
tenant_id = "{tenant}"
"""


def slack(peer, tenant="42"):
    return f"""
[[channels]]
id = "{peer.entry}"
type = "slack"
tenant_id = "{tenant}"
bot_token = "${{SLACK_BOT_TOKEN}}"
signing_secret = "${{SLACK_SIGNING_SECRET}}"
base_url = "{peer.api_url}"
"""


def api_key(name, tenant, agent=None):
    agent_line = f'agent = "{agent}"\n' if agent else ""
    return f"""
[[api_keys]]
name = "{name}"
key = "${{{name.upper()}_KEY}}"
tenant_id = "{tenant}"
{agent_line}"""
