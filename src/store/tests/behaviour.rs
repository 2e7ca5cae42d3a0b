//! One behaviour at a time.

use super::*;
use crate::store::{Filed, Speaker};

#[tokio::test]
async fn a_message_becomes_a_line_and_its_answer_waits_to_be_sent() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let conversations = store.tenant(None);
    let session = conversations.session(&key("a"));
    let message = inbound("", "u", "m1", 5);
    assert_eq!(conversations.file(&key("a"), &message).await.unwrap(), Filed::New);
    let waiting = session.waiting(9).unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].seq, &waiting[0].inbound, waiting[0].n_tries, waiting[0].is_told), (1, &message, 0, false));

    let replies = vec![reply("m1", "one"), reply("m1", "two"), reply("m1", "three")];
    let deliveries = session.commit_turn(turn(vec![1], "one two three", replies.clone(), 7)).await.unwrap();

    assert!(deliveries.is_sorted_by(|one, other| one.id < other.id));
    assert_eq!(deliveries.iter().map(|d| d.content.clone()).collect::<Vec<_>>(), replies);
    assert!(deliveries.iter().all(|d| d.seq == 2 && d.created_at == Timestamp(7) && !d.is_started));
    assert_eq!(session.undelivered().unwrap(), deliveries);
    assert_eq!(session.waiting(9).unwrap(), []);
    let lines = session.lines_after(0, 9).unwrap();
    let peer = Speaker::Peer { user: Some(id("u")), name: message.user_name.clone(), message_id: id("m1") };
    assert_eq!(
        lines.iter().map(|l| (l.seq, l.at.0, &*l.text)).collect::<Vec<_>>(),
        [(1, 5, "text of m1"), (2, 7, "one two three")]
    );
    assert_eq!(lines[0].speaker, peer);
    assert_eq!(lines[0].address, message.reply_to);
    assert_eq!(lines[1].speaker, Speaker::Agent(AgentId::new("reception").unwrap()));

    let row = session.row().unwrap().unwrap();
    assert_eq!((row.n_messages, row.created_at.0, row.last_active_at.0), (2, 5, 7));
    assert_eq!(
        (row.kind, row.user, row.user_name, row.thread),
        (ChatKind::Thread, Some(id("u")), message.user_name, Some(id("17.5")))
    );
    assert_eq!(row.agent.unwrap().as_str(), "reception");
}
