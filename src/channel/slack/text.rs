//! Slack's text: three escaped characters and `<…>` for what is more than text
//! (docs.slack.dev, "Formatting message text").

/// As a person would read it: entities resolved, `<@U1|ann>` as `@ann`, `<url|label>` as `label (url)`.
pub(super) fn render(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        unescape(&mut out, before);
        if let Some((reference, tail)) = after.split_once('>') {
            render_reference(&mut out, reference);
            rest = tail;
        } else {
            out.push('<');
            rest = after;
        }
    }
    unescape(&mut out, rest);
    out
}

/// Text that Slack shows as it is: nothing in it can become a mention, a link or a broadcast.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(c),
        }
    }
    out
}

/// Does the raw text mention this user?
pub(super) fn mentions(text: &str, user: &str) -> bool {
    text.split('<').skip(1).any(|after| after_mention(after, user).is_some())
}

/// The raw text without a mention of `user` at its start, and without the `:` or `,` people put after it.
pub(super) fn without_leading_mention<'t>(text: &'t str, user: &str) -> &'t str {
    let Some(after) = text.trim_start().strip_prefix('<').and_then(|after| after_mention(after, user)) else {
        return text;
    };
    let after = after.trim_start();
    after.strip_prefix([':', ',']).unwrap_or(after).trim_start()
}

/// What follows `@<user>>` or `@<user>|name>`.
fn after_mention<'t>(after_bracket: &'t str, user: &str) -> Option<&'t str> {
    let (reference, tail) = after_bracket.split_once('>')?;
    let id = reference.strip_prefix('@')?;
    let id = id.split_once('|').map_or(id, |(id, _name)| id);
    (id == user).then_some(tail)
}

fn render_reference(out: &mut String, reference: &str) {
    let (target, label) = match reference.split_once('|') {
        Some((target, label)) => (target, Some(label).filter(|label| !label.is_empty())),
        None => (reference, None),
    };
    let mut chars = target.chars();
    match chars.next() {
        Some(sigil @ ('@' | '#')) => {
            out.push(sigil);
            unescape(out, label.unwrap_or(chars.as_str()));
        }
        // `<!here>`, `<!subteam^S1|@team>`, `<!date^0^{date}|1 January>`: the label is what people see.
        Some('!') => match label {
            Some(label) => unescape(out, label),
            None => {
                out.push('@');
                unescape(out, chars.as_str().split('^').next().unwrap_or_default());
            }
        },
        _ => render_link(out, target, label),
    }
}

fn render_link(out: &mut String, url: &str, label: Option<&str>) {
    let Some(label) = label else {
        return unescape(out, url);
    };
    unescape(out, label);
    // Slack turns `example.com` into `<http://example.com|example.com>`: the address was not hidden.
    let address = url.split_once("://").or_else(|| url.split_once(':')).map_or(url, |(_scheme, address)| address);
    if label != url && label.trim_end_matches('/') != address.trim_end_matches('/') {
        out.push_str(" (");
        unescape(out, url);
        out.push(')');
    }
}

/// One pass, so that `&amp;lt;` becomes `&lt;`.
fn unescape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let entity = [("lt;", '<'), ("gt;", '>'), ("amp;", '&')]
            .into_iter()
            .find_map(|(name, c)| after.strip_prefix(name).map(|tail| (c, tail)));
        let (c, tail) = entity.unwrap_or(('&', after));
        out.push(c);
        rest = tail;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_text_becomes_readable() {
        fn check(input: &str, expected: &str) {
            assert_eq!(render(input), expected, "{input}");
        }
        check("plain *bold* 😀", "plain *bold* 😀");
        check("Hello &amp; &lt;world&gt;", "Hello & <world>");
        check("&amp;lt; & &nbsp;", "&lt; & &nbsp;");
        check("Hey <@U024BE7LH|bob>, ask <@U02BEFY4U>", "Hey @bob, ask @U02BEFY4U");
        check("in <#C1|general>, <#C2|>, <#C3>", "in #general, #C2, #C3");
        check("<!here> <!channel|channel> <!subteam^S1|@team> <!subteam^S2>", "@here channel @team @subteam");
        check("<!date^1392734382^{date}|18 Feb 2014>", "18 Feb 2014");
        check("<http://foo.com/>", "http://foo.com/");
        check("<http://www.foo.com|www.foo.com>", "www.foo.com");
        check("<https://foo.com/?a=1&amp;b=2|this &amp; that>", "this & that (https://foo.com/?a=1&b=2)");
        check("<mailto:bob@example.com|bob@example.com> <mailto:a@b.c|Ann>", "bob@example.com Ann (mailto:a@b.c)");
        check("open < and <@U1", "open < and <@U1");
        check("<> <|> <@> <@|x>", "  @ @x");
    }

    #[test]
    fn what_we_send_cannot_address_anybody() {
        assert_eq!(escape("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(render(&escape("a &lt; <b>")), "a &lt; <b>");
    }

    #[test]
    fn only_the_whole_id_is_a_mention() {
        fn check(text: &str, expected: bool) {
            assert_eq!(mentions(text, "U1"), expected, "{text}");
        }
        check("hi <@U1>", true);
        check("hi <@U1|bot>, are you there", true);
        check("hi <@U12> <#U1> <U1> @U1 &lt;@U1&gt;", false);
        check("<@U1", false);
    }

    #[test]
    fn a_leading_mention_is_taken_off_and_others_stay() {
        fn check(text: &str, expected: &str) {
            assert_eq!(without_leading_mention(text, "U1"), expected, "{text}");
        }
        check("<@U1> what's up", "what's up");
        check(" <@U1|bot>: what's up", "what's up");
        check("<@U1>", "");
        check("ask <@U1> please", "ask <@U1> please");
        check("<@U2> <@U1> please", "<@U2> <@U1> please");
    }
    proptest::proptest! {
        #[test]
        fn what_we_send_reads_as_it_was_written(text: String) {
            proptest::prop_assert_eq!(render(&escape(&text)), text);
        }
    }
}
