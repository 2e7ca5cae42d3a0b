//! The tools that an agent has: its notes and its working files. Nothing else can be reached through them.

use serde_json::{Value, json};

use super::context::{Context, Piece, Refused};
use crate::provider::Tool;

/// Tools that an agent may be given together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolset {
    /// Notes that stand in every prompt.
    Memory,
    /// Working files.
    Files,
}

impl Toolset {
    /// All, by the names that the configuration uses.
    pub const ALL: [(&str, Self); 2] = [("memory", Self::Memory), ("files", Self::Files)];
}

/// One tool.
#[derive(Debug, Clone, Copy)]
struct Definition {
    set: Toolset,
    name: &'static str,
    description: &'static str,
    /// Names of its arguments, whether it needs them, and what they are.
    arguments: &'static [(&'static str, Need, &'static str)],
    run: fn(&mut Context<'_>, &Arguments<'_>) -> Result<String, Failed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Text,
    Number,
    /// A number that may be left out.
    MaybeNumber,
}

/// Why a tool did nothing, in words for the model.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the arguments are not a JSON object")]
    NoObject,
    #[error("`{0}` is missing or not a text")]
    NoText(&'static str),
    #[error("`{0}` is missing or not a whole number")]
    NoNumber(&'static str),
}

const NAME: (&str, Need, &str) = ("name", Need::Text, "for example notes.txt or letters/may.txt");
const TEXT: (&str, Need, &str) = ("text", Need::Text, "");
const NUMBER: (&str, Need, &str) = ("number", Need::Number, "of the note");

const TOOLS: &[Definition] = &[
    Definition {
        set: Toolset::Memory,
        name: "memory_add",
        description: "Notes a lasting fact of this conversation in one short sentence.",
        arguments: &[TEXT],
        run: |context, arguments| Ok(format!("noted as {}", context.add_note(arguments.text("text")?)?)),
    },
    Definition {
        set: Toolset::Memory,
        name: "memory_replace",
        description: "Rewrites a note that is no longer right.",
        arguments: &[NUMBER, TEXT],
        run: |context, arguments| {
            context.replace_note(arguments.number("number")?, arguments.text("text")?)?;
            Ok("replaced".to_owned())
        },
    },
    Definition {
        set: Toolset::Memory,
        name: "memory_remove",
        description: "Removes a note that is not needed any more.",
        arguments: &[NUMBER],
        run: |context, arguments| {
            context.remove_note(arguments.number("number")?)?;
            Ok("removed".to_owned())
        },
    },
    Definition {
        set: Toolset::Files,
        name: "file_list",
        description: "Lists the text files of this conversation.",
        arguments: &[],
        run: |context, _| Ok(list(context)),
    },
    Definition {
        set: Toolset::Files,
        name: "file_read",
        description: "Reads a file of this conversation.",
        arguments: &[NAME, ("offset", Need::MaybeNumber, "byte to begin with, when a file is long")],
        run: |context, arguments| {
            let offset = usize::try_from(arguments.number_or("offset", 0)?).unwrap_or(usize::MAX);
            Ok(show(context.read_file(arguments.text("name")?, offset)?))
        },
    },
    Definition {
        set: Toolset::Files,
        name: "file_write",
        description: "Writes a text file of this conversation; what it held is replaced.",
        arguments: &[NAME, TEXT],
        run: |context, arguments| {
            context.write_file(arguments.text("name")?, arguments.text("text")?.to_owned())?;
            Ok("written".to_owned())
        },
    },
    Definition {
        set: Toolset::Files,
        name: "file_append",
        description: "Writes behind what a file holds, or makes a new one.",
        arguments: &[NAME, TEXT],
        run: |context, arguments| {
            context.append_file(arguments.text("name")?, arguments.text("text")?)?;
            Ok("written".to_owned())
        },
    },
    Definition {
        set: Toolset::Files,
        name: "file_remove",
        description: "Removes a file of this conversation.",
        arguments: &[NAME],
        run: |context, arguments| {
            context.remove_file(arguments.text("name")?)?;
            Ok("removed".to_owned())
        },
    },
];

/// What the model is told of the tools of these sets.
pub(super) fn offered(sets: &[Toolset]) -> Vec<Tool> {
    let tools = TOOLS.iter().filter(|tool| sets.contains(&tool.set));
    let tool = |tool: &Definition| Tool {
        name: tool.name.to_owned(),
        description: tool.description.to_owned(),
        input_schema: tool.schema(),
    };
    tools.map(tool).collect()
}

/// Does what the model asks for. An error is for the model to read, too.
pub(super) fn call(context: &mut Context<'_>, sets: &[Toolset], name: &str, input: &Value) -> Result<String, String> {
    let tool = TOOLS.iter().find(|tool| tool.name == name && sets.contains(&tool.set));
    let tool = tool.ok_or("there is no such tool")?;
    let arguments = input.as_object().ok_or(Failed::NoObject).map(Arguments);
    arguments.and_then(|arguments| (tool.run)(context, &arguments)).map_err(|failed| failed.to_string())
}

impl Definition {
    fn schema(&self) -> Value {
        let property = |(name, need, description): &(&str, Need, &str)| {
            let kind = if *need == Need::Text { "string" } else { "integer" };
            let schema = match *description {
                "" => json!({ "type": kind }),
                description => json!({ "type": kind, "description": description }),
            };
            ((*name).to_owned(), schema)
        };
        let properties: serde_json::Map<String, Value> = self.arguments.iter().map(property).collect();
        let needed = self.arguments.iter().filter(|(_, need, _)| *need != Need::MaybeNumber);
        let needed: Vec<&str> = needed.map(|(name, _, _)| *name).collect();
        json!({ "type": "object", "properties": properties, "required": needed, "additionalProperties": false })
    }
}

/// What came with a call.
#[derive(Debug, Clone, Copy)]
struct Arguments<'a>(&'a serde_json::Map<String, Value>);

impl<'a> Arguments<'a> {
    fn text(&self, name: &'static str) -> Result<&'a str, Failed> {
        self.0.get(name).and_then(Value::as_str).ok_or(Failed::NoText(name))
    }

    /// Small models put numbers into quotes or write them with a fraction of nothing.
    fn number(&self, name: &'static str) -> Result<u64, Failed> {
        let whole = |number: f64| format!("{number:.0}").parse().ok().filter(|_| number.fract() == 0.0);
        let number = match self.0.get(name) {
            Some(Value::Number(number)) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
            Some(Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        number.ok_or(Failed::NoNumber(name))
    }

    fn number_or(&self, name: &'static str, default: u64) -> Result<u64, Failed> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(_) => self.number(name),
        }
    }
}

fn list(context: &Context<'_>) -> String {
    if context.files().is_empty() {
        return "there are no files".to_owned();
    }
    let lines: Vec<String> = context.files().iter().map(|(name, size)| format!("{name} ({size} bytes)")).collect();
    lines.join("\n")
}

fn show(piece: Piece) -> String {
    let Piece { text, end, size } = piece;
    match (size, end) {
        (0, _) => "(the file is empty)".to_owned(),
        (size, end) if end < size => format!("{text}\n(…up to byte {end} of {size}; go on with offset {end})"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(context: &mut Context<'_>, name: &str, input: Value, expected: Result<&str, &str>) {
        let sets = [Toolset::Memory, Toolset::Files];
        let result = call(context, &sets, name, &input);
        assert_eq!(result.as_deref().map_err(String::as_str), expected, "{name} {input}");
    }

    #[test]
    fn notes_are_added_replaced_and_removed() {
        let mut context = Context::empty();
        check(&mut context, "memory_add", json!({"text": "Has a dog."}), Ok("noted as 1"));
        check(&mut context, "memory_add", json!({"text": "Comes at nine.\n"}), Ok("noted as 2"));
        check(&mut context, "memory_replace", json!({"number": 1, "text": "Has a cat."}), Ok("replaced"));
        check(&mut context, "memory_remove", json!({"number": "2"}), Ok("removed"));
        check(&mut context, "memory_remove", json!({"number": 2}), Err("there is no note 2"));
        check(&mut context, "memory_add", json!({"text": " \n"}), Err("the text is empty"));
        assert_eq!(context.into_changes().notes, [(1, None, Some("Has a cat.".to_owned()))]);
    }

    #[test]
    fn files_are_written_read_and_removed() {
        let mut context = Context::empty();
        check(&mut context, "file_list", json!({}), Ok("there are no files"));
        check(&mut context, "file_write", json!({"name": "a.txt", "text": "one\n"}), Ok("written"));
        check(&mut context, "file_append", json!({"name": "a.txt", "text": "two"}), Ok("written"));
        check(&mut context, "file_append", json!({"name": "b", "text": ""}), Ok("written"));
        check(&mut context, "file_list", json!({}), Ok("a.txt (7 bytes)\nb (0 bytes)"));
        check(&mut context, "file_read", json!({"name": "a.txt"}), Ok("one\ntwo"));
        check(&mut context, "file_read", json!({"name": "a.txt", "offset": 4}), Ok("two"));
        check(&mut context, "file_read", json!({"name": "a.txt", "offset": 7.0}), Err("the file ends at 7"));
        check(&mut context, "file_read", json!({"name": "b", "offset": null}), Ok("(the file is empty)"));
        check(&mut context, "file_remove", json!({"name": "a.txt"}), Ok("removed"));
        let gone = Err("there is no file of this name; file_list tells which there are");
        check(&mut context, "file_read", json!({"name": "a.txt"}), gone);
    }

    #[test]
    fn a_long_file_comes_in_pieces() {
        let mut context = Context::empty();
        context.write_file("a", "ä".repeat(5000)).unwrap();
        let first = format!("{}\n(…up to byte 8192 of 10000; go on with offset 8192)", "ä".repeat(4096));
        check(&mut context, "file_read", json!({"name": "a"}), Ok(&first));
        check(&mut context, "file_read", json!({"name": "a", "offset": 8192}), Ok(&"ä".repeat(904)));
        check(&mut context, "file_read", json!({"name": "a", "offset": 9997}), Ok("ä"));
    }

    #[test]
    fn what_makes_no_sense_is_told_to_the_model() {
        let mut context = Context::empty();
        check(&mut context, "memory_add", json!("{\"text\": "), Err("the arguments are not a JSON object"));
        check(&mut context, "memory_add", json!({}), Err("`text` is missing or not a text"));
        check(&mut context, "memory_add", json!({"text": 1}), Err("`text` is missing or not a text"));
        for number in [json!(null), json!(-1), json!(1.5), json!("one"), json!([1]), json!(1e300)] {
            let missing = Err("`number` is missing or not a whole number");
            check(&mut context, "memory_remove", json!({"number": number}), missing);
        }
        check(&mut context, "shell", json!({"command": "ls"}), Err("there is no such tool"));
        assert_eq!(context.into_changes(), Default::default());
    }

    #[test]
    fn tools_of_a_set_that_was_not_given_are_not_there() {
        let mut context = Context::empty();
        let input = json!({"text": "x"});
        assert_eq!(
            call(&mut context, &[Toolset::Files], "memory_add", &input),
            Err("there is no such tool".to_owned())
        );
        let names = |sets: &[Toolset]| offered(sets).into_iter().map(|tool| tool.name).collect::<Vec<_>>();
        assert_eq!(names(&[]), [""; 0]);
        assert_eq!(names(&[Toolset::Memory]), ["memory_add", "memory_replace", "memory_remove"]);
        assert_eq!(names(&[Toolset::Files, Toolset::Memory]).len(), TOOLS.len());
    }

    #[test]
    fn a_schema_says_what_is_needed() {
        let read = offered(&[Toolset::Files]).into_iter().find(|tool| tool.name == "file_read").unwrap();
        let name = json!({"type": "string", "description": "for example notes.txt or letters/may.txt"});
        let offset = json!({"type": "integer", "description": "byte to begin with, when a file is long"});
        assert_eq!(
            read.input_schema,
            json!({
                "type": "object",
                "properties": {"name": name, "offset": offset},
                "required": ["name"],
                "additionalProperties": false,
            })
        );
    }
}
