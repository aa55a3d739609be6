"""The interpreter of templates gives what Jinja itself gives, for whatever chat templates do."""

from __future__ import annotations

import json

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from smallchat.model.jinja import BadTemplateError, Program

TALK = [
    {"role": "system", "content": "  Be brief.\n"},
    {"role": "user", "content": '<think>hm</think> 你好, 12+3? "quoted" \'n <b>'},
    {"role": "assistant", "content": "15"},
    {"role": "user", "content": ""},
]


def refuse(message: str) -> None:
    raise jinja2.TemplateRuntimeError(message)


def by_jinja(source: str) -> str:
    """As the makers of chat templates render them."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(
        value, ensure_ascii=False, indent=indent
    )
    environment.globals["raise_exception"] = refuse
    return environment.from_string(source).render(**VARIABLES)


VARIABLES = {
    "messages": TALK,
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "eos_token": "",
    "n": 3,
    "none_": None,
}

SNIPPETS = [
    "plain text, {# a comment #} and {{ '{{' }} braces\n",
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }} "
    "{{ m.role }}: {{ m['content'] }}\n{% endfor %}",
    "{%- for m in messages -%}  {{- m.content -}}  {%- endfor -%}",
    "  {% if n %}\n  yes\n  {% endif %}\n  end\n\n",
    "{% for m in messages %}{% if loop.first %}[{% elif loop.last %}]{% else %},{% endif %}{% endfor %}",
    "{% for m in messages %}{{ loop.index0 }}{{ loop.revindex }}"
    "{{ loop.revindex0 }}{{ loop.depth }} {% endfor %}",
    "{% for m in messages %}{% if not loop.first %}{{ loop.previtem.role }}{% endif %}{% endfor %}",
    "{% for m in messages %}{{ loop.cycle('odd', 'even') }} {% endfor %}",
    "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}{% else %}none{% endfor %}",
    "{% for m in [] %}x{% else %}none{% endfor %}{% for x in missing %}x{% else %}none{% endfor %}",
    "{% for a in range(3) %}{% for b in range(a) %}{{ a }}{{ b }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for k, v in {'a': 1, 'b': [2, 3]}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in messages[0]|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in messages[0] %}{{ k }} {% endfor %}{% for c in 'abc' %}{{ c }}.{% endfor %}",
    "{% for m in messages[::-1] %}{{ m.role }} {% endfor %}{{ messages[1:][0].role }}{{ 'abcdef'[1:-1:2] }}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}"
    "{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is sequence else x }}{{ loop.depth }}{% endfor %}",
    "{% set x = 1 %}{% for i in range(3) %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% set ns = namespace(x=1, y='a') %}{% for i in range(3) %}"
    "{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}",
    "{% if n %}{% set x = 5 %}{% endif %}{{ x }}{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set x %}one {{ n }}{% endset %}<{{ x }}>{% set y | upper | trim %} up {% endset %}<{{ y }}>",
    "{% filter upper | replace('A', 'o') %}abc{{ n }}{% endfilter %}",
    "{% with a = n, b = 'x' %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% macro m(a, b='B', c=none) %}({{ a }}{{ b }}{{ c }}){% endmacro %}"
    "{{ m('x') }}{{ m('x', c=1) }}{{ m('x', 'y', 'z') }}",
    "{% macro m(d) %}{% if d %}{{ d }}{{ m(d - 1) }}{% endif %}{% endmacro %}{{ m(4) }}",
    "{% macro m(a) %}{{ a is defined }}{{ bos_token }}{% endmacro %}{{ m() }}",
    "{{ 1 + 2 * 3 - 4 }} {{ 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} "
    "{{ -n }} {{ +n }} {{ (1 + 2) * 3 }} {{ 1.5 }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 1.5 ~ missing }} {{ 'a' + 'b' }} {{ 'ab' * 2 }} {{ [1] + [2] }}",
    "{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 'a' == 'a' }} {{ 'a' != 'b' }} "
    "{{ 2 >= 2 }} {{ 2 <= 1 }} {{ [1] == [1] }}",
    "{{ 'a' in 'abc' }} {{ 'role' in messages[0] }} {{ 3 not in [1, 2] }} "
    "{{ 'x' in missing }} {{ n in (3, 4) }}",
    "{{ true and 'x' }} {{ '' or 'y' }} {{ not n }} {{ missing or 'z' }} "
    "{{ none_ and 1 }} {{ 0 or [] or 'e' }}",
    "{{ 'yes' if n else 'no' }} {{ 'yes' if missing }} {{ (1 if false else 2) + 1 }}",
    "{{ missing }} {{ messages[0].nothing }} {{ messages[9] }} "
    "{{ messages[0]['nothing'] }} {{ none_ }} {{ 'abc'[1] }}",
    "{{ missing is defined }} {{ n is defined }} {{ none_ is none }} "
    "{{ missing is none }} {{ missing is undefined }}",
    "{{ 'a' is string }} {{ 1 is number }} {{ 1 is integer }} {{ 1.5 is float }} "
    "{{ true is boolean }} {{ true is true }}",
    "{{ [] is sequence }} {{ {} is mapping }} {{ [] is iterable }} "
    "{{ 1 is iterable }} {{ 'a' is mapping }} {{ 1 is string }}",
    "{{ 3 is odd }} {{ 3 is even }} {{ 9 is divisibleby 3 }} {{ 1 is eq 1 }} "
    "{{ 1 is in [1] }} {{ 2 is gt 1 }} {{ n is not none }}",
    "{{ messages | length }} {{ 'abc' | count }} {{ missing | length }} "
    "{{ '  x ' | trim }}| {{ 'xxaxx' | trim('x') }}",
    "{{ 'aBc' | upper }} {{ 'aBc' | lower }} {{ 'ab cd' | title }} "
    "{{ 'aBC' | capitalize }} {{ 5 | string | upper }}",
    "{{ missing | default('d') }} {{ '' | default('d') }} {{ '' | default('d', true) }} "
    "{{ none_ | d('x') }} {{ missing | d }}",
    "{{ [1, 2] | first }} {{ [1, 2] | last }} {{ [1, 'a'] | join('-') }} "
    "{{ messages | join(', ', attribute='role') }}",
    "{{ messages | map(attribute='role') | join(' ') }} {{ ['a', 'b'] | map('upper') | list }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ [0, 1, 2] | select | list }}",
    "{{ messages | rejectattr('content') | map(attribute='role') | first }} "
    "{{ [1, 2, 3] | reject('odd') | list }}",
    "{{ 'a,b,c'.split(',') }} {{ 'a b'.split()[-1] }} {{ 'x</think>y'.split('</think>')[-1].lstrip('\\n') }}",
    "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} "
    "{{ ' a '.strip() }} {{ 'aXbX'.replace('X', '-') }}",
    "{{ 'a-b'.partition('-')[2] }} {{ 'abc'.find('c') }} {{ 'Abc'.upper() }} "
    "{{ '-'.join(['a', 'b']) }} {{ 'aab'.count('a') }}",
    "{{ 'a\\nb'.splitlines() | length }} {{ 'abc'.removeprefix('a') }} "
    "{{ '12'.isdigit() }} {{ 'a b'.title() }}",
    "{{ messages[0].get('role') }} {{ messages[0].get('x') }} "
    "{{ messages[0].get('x', 'y') }} {{ messages[0].keys() | list }}",
    "{{ messages[1] | tojson }} {{ {'a': [1, none, true, 'é']} | tojson(indent=2) }} {{ 'a\"b' | tojson }}",
    "{{ [1, 'a', none, true, 1.5, [2], {'k': 'v'}] }} {{ {'a': 1} }} {{ 'x' | safe }}",
    "{{ '12' | int + 1 }} {{ 'x' | int }} {{ 'x' | int(7) }} "
    "{{ '1.5' | float }} {{ -3 | abs }} {{ 'abc' | reverse }}",
    "{{ [3, 1] | reverse | list }} {{ 'ab' | list }} {{ range(2, 9, 3) | list }} "
    "{{ 'abcab' | replace('ab', 'x') }}",
    "{%- set system = messages[0].content if messages[0].role == 'system' else '' -%}[{{ system | trim }}]",
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% else %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{{ m.role }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{%- if tools is defined and tools %}T{% endif %}"
    "{% if messages[-1].role != 'user' or n > 2 %}U{% endif -%}",
]  # fmt: skip


@pytest.mark.parametrize("source", SNIPPETS)
def test_as_jinja_does(source):
    assert Program(source).run(**VARIABLES) == by_jinja(source)


REFUSED = [
    "{{ missing() }}",
    "{{ missing + 1 }}",
    "{{ 1 + 'a' }}",
    "{{ 'a' < 1 }}",
    "{{ 1 / 0 }}",
    "{{ raise_exception('no') }}",
    "{% set a, b = [1] %}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{{ {[]: 1} }}",
    "{% for x in 5 %}{% endfor %}",
    "{{ 'abc'.split('') }}",
    "{{ 5|length }}",
    "{% frob %}",
    "{{ 'a'|frob }}",
    "{{ 1 is frob }}",
    "{% for x in [1] %}",
    "{{ messages.append(1) }}",
]


@pytest.mark.parametrize("source", REFUSED)
def test_refused_where_jinja_refuses(source):
    with pytest.raises((jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError)):
        by_jinja(source)
    with pytest.raises(BadTemplateError):
        Program(source).run(**VARIABLES)
