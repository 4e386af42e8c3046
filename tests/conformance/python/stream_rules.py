"""The order that the events of a Messages stream must have."""


def check_events(events):
    """One message_start first, blocks opened and closed in turn by rising index, message_delta and message_stop last."""
    types = [event.type for event in events]
    assert types[0] == "message_start" and types.count("message_start") == 1, types
    assert types[-2:] == ["message_delta", "message_stop"], types
    opened, next_index = None, 0
    for event in events[1:-2]:
        if event.type == "content_block_start":
            assert opened is None and event.index == next_index, types
            opened, next_index = event.index, next_index + 1
            continue
        assert event.type in ("content_block_delta", "content_block_stop"), types
        assert event.index == opened, types
        if event.type == "content_block_stop":
            opened = None
    assert opened is None, types
