"""Fifty peers on three channels tell a secret word each and ask for it back.

Every outgoing message and every prompt at the provider is looked at: no word of another conversation, the right
address, one answer for each message.
"""

import random
import re
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from peers.settings import settings, webchat, webhook
from peers.settings import slack as slack_entry
from peers.wire import until

WORD = re.compile(r"canary-[0-9a-f]{12}")
ROUNDS = ("remember {word} for me", "which word did I tell you, {nonce}?")


def words_in(text):
    return set(WORD.findall(text))


@dataclass
class Conversation:
    """What one session may know: the words of those who write in it."""

    name: str
    words: set = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Peer:
    """Someone with a word. `exchange(text)` says a text and waits until it was answered."""

    def __init__(self, conversation):
        self.conversation = conversation
        self.word = f"canary-{uuid.uuid4().hex[:12]}"
        conversation.words.add(self.word)

    def check(self, answer):
        strangers = words_in(answer) - self.conversation.words
        assert not strangers, f"{self.conversation.name} was told words of others"

    def tell(self):
        self.check(self.exchange(ROUNDS[0].format(word=self.word)))

    def recall(self):
        answer = self.exchange(ROUNDS[1].format(nonce=uuid.uuid4().hex[:6]))
        self.check(answer)
        assert self.word in answer, f"{self.conversation.name} forgot"


class HookPeer(Peer):
    """Direct, or a member of a group or thread, whose members write at the same time."""

    def __init__(self, conversation, hook, user, **place):
        super().__init__(conversation)
        self.hook, self.user, self.place = hook, user, place
        self.sent = []

    def exchange(self, text):
        message = {"kind": "direct", "user_id": self.user, "text": text, "message_id": f"m_{uuid.uuid4().hex}"}
        message |= self.place
        assert self.hook.post(message).status == 202
        if random.random() < 0.3:  # the vendor did not hear us and says it again
            assert self.hook.post(message).json == {"duplicate": True}
        self.sent.append(message["message_id"])
        return self.hook.answer_to(message["message_id"], 60).text


class SlackMember(Peer):
    """In a direct chat, a channel or a thread; members of one place take turns, so that posts can be counted."""

    def __init__(self, conversation, slack, user, channel, **place):
        super().__init__(conversation)
        self.slack, self.user, self.channel, self.place = slack, user, channel, place
        self.thread_ts = place.get("thread_ts")

    def exchange(self, text):
        with self.conversation.lock:
            before = len(self.slack.posts_in(self.channel, self.thread_ts))
            self.slack.say(text, self.user, self.channel, **self.place)
            posts = until(lambda: self.slack.posts_in(self.channel, self.thread_ts)[before:], 60, "a post in Slack")
            assert len(posts) == 1 and text in posts[0].text
            return posts[0].text


class PageVisitor(Peer):
    """In front of the web chat, in a browser of their own."""

    def __init__(self, conversation, visitor):
        super().__init__(conversation)
        self.visitor = visitor
        self.asked = []

    def exchange(self, text):
        self.visitor.say(text)
        self.visitor.sees(f"you said: {text}", 60)
        self.asked.append(text)
        return self.visitor.conversation()


def hook_peers(hook):
    for n in range(16):
        yield HookPeer(Conversation(f"direct {n}"), hook, f"U{n}", channel_id=f"D{n}")
    for n in range(3):
        room = {"channel_id": f"C{n}", "mentions_bot": True}
        group, thread = Conversation(f"group {n}"), Conversation(f"thread {n}")
        for user in range(3):
            yield HookPeer(group, hook, f"U{user}", kind="group", **room)
        for user in range(2):
            yield HookPeer(thread, hook, f"U{user}", kind="thread", thread_id="T1", **room)


def slack_members(slack):
    for n in range(6):
        yield SlackMember(Conversation(f"slack {n}"), slack, f"U{n}", f"D{n}")
    channel, thread = Conversation("slack channel"), Conversation("slack thread")
    for user in range(2):
        yield SlackMember(channel, slack, f"U{user}", "C1", kind="channel")
    for user in range(2):
        yield SlackMember(thread, slack, f"U{user}", "C1", kind="channel", thread_ts="1700000000.000100")


def page_visitors(browser, url):
    for n in range(9):
        yield PageVisitor(Conversation(f"visitor {n}"), browser.visit(url))


def all_do(action, peers):
    """In random order, eight at a time; the first failure of any is the failure of all."""
    peers = random.sample(peers, len(peers))
    pool = ThreadPoolExecutor(8)
    try:
        for done in as_completed([pool.submit(action, peer) for peer in peers]):
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def test_no_word_reaches_another_conversation(gateway, model, hook, slack, browser):
    # Slack posts channel messages as answers in the channel; only threads are answered in threads.
    sections = [webhook(hook), webchat(), slack_entry(slack, tenant="43")]
    gateway.write(settings(gateway.port, model.openai_url, *sections))
    gateway.start()
    peers = [*hook_peers(hook), *slack_members(slack), *page_visitors(browser, f"{gateway.url}/chat/webchat")]
    assert len(peers) == 50

    all_do(Peer.tell, peers)
    all_do(Peer.recall, peers)
    hook.stays_quiet(1)

    conversations = {id(peer.conversation): peer.conversation for peer in peers}.values()
    check_prompts(model, conversations)
    check_webhook(hook, [peer for peer in peers if isinstance(peer, HookPeer)])
    check_slack(slack, [peer for peer in peers if isinstance(peer, SlackMember)])
    check_pages([peer for peer in peers if isinstance(peer, PageVisitor)])
    assert not words_in(gateway.log)
    assert len(gateway.session_rows("--tenant", "42")) == len(conversations) - 8
    assert len(gateway.session_rows("--tenant", "43")) == 8


def check_prompts(model, conversations):
    for asked in model.asked:
        words = words_in(asked.everything)
        assert any(words <= c.words for c in conversations), "a prompt holds words of two conversations"


def check_webhook(hook, peers):
    by_message = {message_id: peer for peer in peers for message_id in peer.sent}
    answered = Counter(message_id for delivery in hook.delivered for message_id in delivery.answers)
    assert answered == Counter(by_message.keys())
    for delivery in hook.delivered:
        for message_id in delivery.answers:
            peer = by_message[message_id]
            assert words_in(delivery.text) <= peer.conversation.words
            for name in ("channel_id", "thread_id"):
                assert delivery.body.get(name) == peer.place.get(name)
        assert delivery.body["user_id"] == by_message[delivery.body["in_reply_to"]].user


def check_slack(slack, peers):
    places = {(peer.channel, peer.thread_ts): peer.conversation for peer in peers}
    for post in slack.posts:
        assert words_in(post.text) <= places[post.channel, post.thread_ts].words
    assert len(slack.posts) == 2 * len(peers)


def check_pages(peers):
    for peer in peers:
        shown = peer.visitor.conversation()
        assert words_in(shown) == {peer.word}
        for text in peer.asked:
            assert shown.count(f"you said: {text}") == 1
        peer.visitor.leave()
