"""Limits on requests and cost: never passed, and what they cut off is continued."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from served_world import attempts, collect, records, served_plan

from auditor.collect.forecast import forecast
from auditor.collect.servers import ServerTerms
from auditor.errors import BudgetError, InputError
from auditor.models.price_file import Price, Prices, read_prices
from auditor.models.server_budget import Budget, Limits, most_tokens

PRICE = Price(input=1.0, output=10.0, request=0.5)


def prices(price=PRICE, name="tiny-model"):
    return Prices(currency="USD", models={name: price}, path="prices.yaml")


def test_requests_stop_at_their_limit_and_go_on_under_a_larger_one(proxy, models, tmp_path):
    plan = served_plan(models.reference, proxy.spec())
    for limit in (5, 5, 9):
        with pytest.raises(BudgetError, match=f"--max-requests {limit}"):
            collect(tmp_path, plan, requests=limit)
        assert len(proxy.received()) == limit
    case = collect(tmp_path, plan, requests=14)
    assert len(proxy.received()) == len(attempts(case)) == 14
    assert len(proxy.answered()) == len(set(proxy.answered())) == 14


def test_refused_attempts_count_as_requests(proxy, models, tmp_path):
    failing = {"kind": "status", "status": 500, "headers": {}}
    proxy.control(None, None, failing, failing)
    with pytest.raises(BudgetError):
        collect(tmp_path, served_plan(models.reference, proxy.spec()), requests=5)
    assert len(proxy.received()) == 5


def test_cost_is_that_of_the_counted_tokens_and_stays_under_its_limit(proxy, models, tmp_path):
    plan = served_plan(models.reference, proxy.spec())
    limits = {"cost": 4.0, "prices": prices(Price(input=0.0, output=0.0, request=0.5))}
    with pytest.raises(BudgetError, match="cost of 4 USD"):
        collect(tmp_path, plan, **limits)
    assert len(proxy.received()) == 8  # 8 x 0.5 = 4
    case = collect(tmp_path, plan, cost=7.0, prices=limits["prices"])
    assert len(attempts(case)) == 14


def test_a_request_costs_its_price_and_that_of_its_tokens():
    # 0.5 + 3 x 1e-6 x 1 + 2 x 1e-6 x 10
    assert PRICE.cost(3, 2) == pytest.approx(0.500023, abs=1e-12)
    body = {"model": "tiny-model", "prompt": "a€", "max_tokens": 7}
    # {"max_tokens":7,"model":"tiny-model","prompt":"a€"}: 16 + 21 + 16 bytes, and a template's.
    assert most_tokens(body) == (53 + 32, 7)


def attempt(answered, **more):
    body = {"model": "tiny-model", "prompt": "abcd", "max_tokens": 10}
    return {"request": {"body": body}, "answered": answered, **more}


@pytest.mark.parametrize(
    ("entry", "cost"),
    [
        # 2 tokens sent and 3 back, as the server counted
        (
            attempt(
                True,
                status=200,
                body='{"usage": {"prompt_tokens": 2, "completion_tokens": 3}}',
            ),
            2 + 30,
        ),
        # not counted: 54 bytes and 32 sent, 10 back
        (attempt(True, status=200, body="{}"), 86 + 100),
        # refused: nothing; broken off: it may have been answered
        (attempt(False, status=429, body=""), 0),
        (attempt(False, error="ReadTimeout"), 86 + 100),
    ],
)
def test_what_an_attempt_costs(entry, cost):
    price = Price(input=1e6, output=1e7)
    budget = Budget(Limits(prices=prices(price)))
    budget.count([entry])
    assert budget.cost == pytest.approx(cost)
    reserved = budget.reserve(entry["request"]["body"])
    assert reserved == pytest.approx(186)
    budget.settle(reserved, entry["request"]["body"], entry)
    assert budget.cost == pytest.approx(2 * cost)
    assert budget.requests == 2


def test_a_request_waits_for_the_cost_of_those_under_way():
    entry = attempt(
        True, status=200, body='{"usage": {"prompt_tokens": 2, "completion_tokens": 3}}'
    )
    body = entry["request"]["body"]
    budget = Budget(Limits(cost=300.0, prices=prices(Price(input=1e6, output=1e7))))
    budget.reserve(body)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(budget.reserve, body)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.2)  # 186 + 186 > 300
        budget.settle(186.0, body, entry)
        assert second.result(timeout=10) == 186.0  # 32 + 186
    budget.settle(186.0, body, attempt(False, error="ReadTimeout"))
    with pytest.raises(BudgetError, match="at a cost of 218 USD: the next request may cost 186"):
        budget.reserve(body)


def counted(sent, back):
    usage = {"prompt_tokens": sent, "completion_tokens": back}
    return attempt(True, status=200, body=json.dumps({"usage": usage}))


@pytest.mark.parametrize(
    ("price", "usage"),
    [
        # 50 back where 10 were allowed: five times; 430 sent where 86 were the most: likewise.
        (Price(input=0.0, output=1e6), (1, 50)),
        (Price(input=1e6 * 10 / 86, output=0.0), (430, 1)),
    ],
)
def test_of_a_server_that_counts_more_than_was_allowed_as_much_is_expected_again(price, usage):
    entry = counted(*usage)
    body = entry["request"]["body"]
    budget = Budget(Limits(cost=120.0, prices=prices(price)))
    spent = 0.0
    for expected in (10, 50):
        reserved = budget.reserve(body)
        assert reserved == pytest.approx(expected)
        budget.settle(reserved, body, entry)
        spent += 50
        assert budget.cost == pytest.approx(spent)
    with pytest.raises(BudgetError, match="at a cost of 100 USD: the next request may cost 50"):
        budget.reserve(body)
    later = Budget(Limits(prices=prices(price)))
    later.count([entry, attempt(False, error="ReadTimeout")])
    assert later.cost == pytest.approx(100)
    assert later.reserve(body) == pytest.approx(50)


def test_what_is_added_to_every_request_is_paid_too(models, tmp_path):
    spec = "openai:m?base_url=http://127.0.0.1:9/v1"
    plans = [
        served_plan(models.reference, spec + more)
        for more in ("", '&extra_body={"tools":"xxxxxxxxxx"}')
    ]
    found = [forecast(plan, tmp_path, ServerTerms())["total"] for plan in plans]
    # "tools":"xxxxxxxxxx", in each of 12 replies
    assert found[1]["prompt_tokens"] - found[0]["prompt_tokens"] == 12 * 21


def test_prices_are_read_and_a_model_without_one_is_refused(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(
        "schema: auditor/prices/1\ncurrency: EUR\nmodels:\n  m: {input: 0.15, output: 0.6}\n"
    )
    found = read_prices(path)
    assert found.of("m") == Price(input=0.15, output=0.6)
    path.write_text(
        '{schema: auditor/prices/1, currency: "\\ud800", models: {7: {input: 1, output: 1}}}'
    )
    assert read_prices(path).currency == "\ufffd"  # it is printed
    assert read_prices(path).of("7").output == 1.0
    with pytest.raises(InputError, match="no price of the model 'n'") as caught:
        Limits(prices=found).check(["m", "n"])
    assert "it has: m" in caught.value.hint
    with pytest.raises(InputError, match="--max-cost needs prices"):
        Limits(cost=1.0).check([])
    for cost in (float("nan"), float("inf"), -1.0):
        with pytest.raises(InputError, match="is no cost"):
            Limits(cost=cost, prices=found).check([])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "not a price file"),
        ("{", "neither YAML nor JSON"),
        ('{"schema": "auditor/prices/2"}', "not a price file"),
        ('{"schema": "auditor/prices/1", "models": {}}', "lacks models or currency"),
        ('{"schema": "auditor/prices/1", "currency": "x", "models": {}, "y": 1}', "unknown key y"),
        ("model", "not a price file"),
        ("{a: 2024-99-99}", "neither YAML nor JSON"),  # no date
        ("{a: !!bool x}", "neither YAML nor JSON"),
        ("{a: " + "1" * 5000 + "}", "neither YAML nor JSON"),
        ("[" * 5000, "neither YAML nor JSON"),
    ],
)
def test_a_file_that_holds_no_prices_is_refused(tmp_path, content, said):
    path = tmp_path / "prices.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        read_prices(path)


@pytest.mark.parametrize(
    "price",
    [
        5,
        {"input": 1},
        *({"input": 1, "output": value} for value in (-1, "1", True, [1], None, 1e13)),
        {"input": 10**400, "output": 1},
        {"input": float("nan"), "output": 1},
        {"input": float("inf"), "output": 1},
    ],
    ids=lambda price: str(price)[:30],
)
def test_what_is_no_price_is_refused(tmp_path, price):
    path = tmp_path / "prices.json"
    content = {"schema": "auditor/prices/1", "currency": "USD", "models": {"m": price}}
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"m needs input|m\.\w+ is"):
        read_prices(path)


def test_a_case_that_was_paid_is_not_paid_again(proxy, models, tmp_path):
    plan = served_plan(models.reference, proxy.spec())
    case = collect(tmp_path, plan)
    first = len(proxy.received())
    for path in (case.data / "collected").glob("*.json"):
        path.unlink()
    for path in (case.data / "records" / "suspect").glob("*.jsonl"):
        path.unlink()
    assert len(records(collect(tmp_path, plan, requests=first))) == 12
    assert len(proxy.received()) == first
