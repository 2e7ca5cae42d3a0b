"""The gateway is killed at random moments: nothing that it acknowledged is lost, nothing is answered twice."""

import random
import threading
import uuid

from peers.wire import until

KILLS = 20
PEERS = [f"U{n}" for n in range(8)]


class Talker(threading.Thread):
    """Says one thing after another as one peer; what is not acknowledged is said again with the same id."""

    def __init__(self, hook, user):
        super().__init__(daemon=True)
        self.hook, self.user = hook, user
        self.acknowledged = []
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            message_id = f"m_{uuid.uuid4().hex}"
            message = {"kind": "direct", "user_id": self.user, "message_id": message_id, "text": f"word {message_id}"}
            while not self.offer(message) and not self.stopping.is_set():
                self.stopping.wait(0.02)

    def offer(self, message):
        try:
            response = self.hook.post(message)
        except OSError:
            return False
        if response.status == 202 or (response.status == 200 and response.json.get("duplicate")):
            self.acknowledged.append(message["message_id"])
            return True
        assert response.status == 503, f"{response.status}: {response.text}"
        return False


def test_killed_at_random_moments(desk, hook):
    moments = random.Random(1)
    talkers = [Talker(hook, user) for user in PEERS]
    for talker in talkers:
        talker.start()
    for _ in range(KILLS):
        threading.Event().wait(moments.uniform(0.05, 0.4))
        desk.kill()
        desk.start()
    for talker in talkers:
        talker.stopping.set()
        talker.join(timeout=30)
    acknowledged = {message_id: talker.user for talker in talkers for message_id in talker.acknowledged}
    assert len(acknowledged) > KILLS

    def unanswered():
        answered = {message_id for delivery in hook.delivered for message_id in delivery.answers}
        return acknowledged.keys() - answered

    until(lambda: not unanswered(), 60, lambda: f"{len(unanswered())} of {len(acknowledged)} acknowledged are unanswered")
    # A delivery may arrive twice under one id: that is how the peer tells a repeat from an answer.
    deliveries = {delivery.id: delivery.body for delivery in hook.delivered}
    answers = [message_id for body in deliveries.values() for message_id in body["answers"]]
    assert len(answers) == len(set(answers)), "a message was answered twice"
    for body in deliveries.values():
        strangers = [message_id for message_id in body["answers"] if acknowledged.get(message_id, body["user_id"]) != body["user_id"]]
        assert strangers == []
    for user in PEERS:
        said = [m for talker in talkers if talker.user == user for m in talker.acknowledged]
        in_order = [m for body in deliveries.values() if body["user_id"] == user for m in body["answers"] if m in said]
        assert in_order == said, "a conversation keeps its order"
