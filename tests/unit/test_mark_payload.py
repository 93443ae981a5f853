from datetime import date

import pytest

from pipeline.mark.payload import Payload, stream_code


def test_a_payload_is_ten_hexadecimal_digits_and_forty_bits():
    payload = Payload.of(0xBEEF, "live", date(2026, 8, 2))
    assert payload.hex == f"1beef{stream_code('live'):02x}0d5"
    assert payload.bits().shape == (40,)
    assert Payload.from_bits(payload.bits()) == Payload.from_hex(payload.hex) == payload
    assert payload.date == date(2026, 8, 2)


def test_days_that_cannot_be_said_are_the_nearest_that_can():
    assert Payload.of(1, "", date(2020, 1, 1)).day == 0
    assert Payload.of(1, "", date(2050, 1, 1)).day == 4095


@pytest.mark.parametrize("wrong", ["", "1beef", "1beef000d5a", "1beefxx0d5"])
def test_other_text_is_no_payload(wrong):
    with pytest.raises(ValueError):  # noqa: PT011
        Payload.from_hex(wrong)


def test_what_has_no_room_is_refused():
    with pytest.raises(ValueError, match="16 bits for its deployment"):
        Payload(1 << 16, 0, 0)
