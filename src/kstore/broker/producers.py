"""Producers: their ids, and what partitions remember of them.

Owns the handler of InitProducerId. Called by `dispatch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore.wire.error_codes import UNSUPPORTED_VERSION, code_of
from kstore.wire.messages.transactions import InitProducerIdRequest, InitProducerIdResponse

if TYPE_CHECKING:
    from kstore.broker.call import Call
    from kstore.broker.node import Broker
    from kstore.errors import KStoreError

INVALID_REQUEST = 42
NO_PRODUCER_ID = -1
NO_EPOCH = -1


def init_producer_id(broker: Broker, call: Call) -> None:
    """A new producer id, whatever the request brings: without a transactional id Kafka gives a new one too.

    With a transactional id the answer is UNSUPPORTED_VERSION, which ends a transactional producer with words that its
    user understands: transactions are not kept here.
    """
    request: InitProducerIdRequest = call.body
    if request.transactional_id is not None:
        code = UNSUPPORTED_VERSION if request.transactional_id else INVALID_REQUEST
        call.answer(_answer(NO_PRODUCER_ID, NO_EPOCH, code))
        return

    def then(producer_id: int | None, error: KStoreError | None) -> None:
        if producer_id is None or error is not None:
            call.answer(_answer(NO_PRODUCER_ID, NO_EPOCH, code_of(error) if error else -1))
        else:
            call.answer(_answer(producer_id, 0, 0))

    broker.off_loop(broker.cluster.next_producer_id, then)


def _answer(producer_id: int, epoch: int, error_code: int) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=error_code, producer_id=producer_id, producer_epoch=epoch)
