"""Check digits: published examples pass, and one changed digit is noticed."""

from collections.abc import Callable

import pytest

from stages.safety import checksums

# Published test numbers and examples of the standards; none belongs to anybody.
CARDS = ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117"]
IBANS = ["GB82WEST12345698765432", "DE89370400440532013000", "FR1420041010050500013M02606"]
RESIDENTS = ["11010519491231002X", "440524188001010014"]


@pytest.mark.parametrize("number", CARDS)
def test_card_numbers_need_a_valid_luhn_digit(number: str) -> None:
    assert checksums.is_credit_card(number)
    assert_every_changed_digit_is_noticed(checksums.is_credit_card, number)


@pytest.mark.parametrize("number", IBANS)
def test_ibans_need_their_length_and_remainder(number: str) -> None:
    assert checksums.is_iban(number)
    assert not checksums.is_iban(number[:-1])
    assert not checksums.is_iban("XX" + number[2:])
    assert_every_changed_digit_is_noticed(checksums.is_iban, number)


def test_resident_ids_need_a_check_character_and_a_possible_birthday() -> None:
    assert checksums.is_cn_resident_id(RESIDENTS[0])
    assert_every_changed_digit_is_noticed(checksums.is_cn_resident_id, RESIDENTS[0])
    # The check character of this one is right, but it is for a birthday in the year 1880.
    assert not checksums.is_cn_resident_id(RESIDENTS[1])
    assert not checksums.is_cn_resident_id("11010519491331002X")


@pytest.mark.parametrize(
    "number", ["000121234", "666121234", "912121234", "123001234", "123120000"]
)
def test_groups_that_are_never_given_out_are_no_ssn(number: str) -> None:
    assert checksums.is_us_ssn("123121234")
    assert not checksums.is_us_ssn(number)


@pytest.mark.parametrize(
    ("address", "real"),
    [("192.168.0.1", True), ("255.255.255.255", True), ("256.1.1.1", False), ("1.02.3.4", False)],
)
def test_ipv4_addresses_have_four_numbers_below_256(address: str, real: bool) -> None:
    assert checksums.is_ipv4(address) is real


def assert_every_changed_digit_is_noticed(is_real: Callable[[str], bool], number: str) -> None:
    for place, digit in enumerate(number):
        if digit.isdigit():
            other = str((int(digit) + 1) % 10)
            assert not is_real(number[:place] + other + number[place + 1 :])
