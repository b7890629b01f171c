"""Conversations: answered by a chat model, and refined where there is something to refine."""

from cap_server.chat.answering import Asked, Reply, answer
from cap_server.chat.conversation import Conversation, Role, Turn
from cap_server.chat.reasoning import thought

__all__ = ["Asked", "Conversation", "Reply", "Role", "Turn", "answer", "thought"]
