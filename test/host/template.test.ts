import { describe, expect, it } from 'vitest';
import { renderTemplate, type TemplateVariables } from '../../src/host/template.ts';

const VARIABLES: TemplateVariables = {
  servers: ['10.0.0.1', '10.0.0.2'],
  port: 22,
  guests: [{ name: 'web', ip: '192.168.122.10' }],
  libvirt: { networks: [{ name: 'default', cidr: '192.168.122.0/24' }] },
  quote: `a"b'c<d>&`,
};

async function render(source: string): Promise<{ text: string; lines: readonly number[] }> {
  const rendered = await renderTemplate(source, 'rules.v4.j2', VARIABLES);
  if (rendered.kind !== 'text') throw new Error(JSON.stringify(rendered.problems));
  return rendered;
}

/** `line:column code message` of each problem. */
async function problems(source: string): Promise<string[]> {
  const rendered = await renderTemplate(source, 'rules.v4.j2', VARIABLES);
  return rendered.kind === 'text'
    ? []
    : rendered.problems.map(({ line, column, code, message }) => `${line}:${column} ${code} ${message}`);
}

describe('a template', () => {
  it('gives one rule a server, and each line knows where it came from', async () => {
    const source = '*filter\n{% for server in servers %}-A INPUT -s {{ server }} -j ACCEPT\n{% endfor %}COMMIT\n';
    expect(await render(source)).toEqual({
      kind: 'text',
      text: '*filter\n-A INPUT -s 10.0.0.1 -j ACCEPT\n-A INPUT -s 10.0.0.2 -j ACCEPT\nCOMMIT\n',
      lines: [1, 2, 2, 3, 4],
    });
  });

  it('knows the lines where blanks were cut away, and where a line starts with a value', async () => {
    const source = '# one\n{%- for server in servers %}\n\n  -A A -s {{ server }}\n{%- endfor %}\n{{ port }}\nend';
    const { text, lines } = await render(source);
    const found = text.split('\n').map((line, index): [string, number | undefined] => [line, lines[index]]);
    expect(found.filter(([line]) => line !== '')).toEqual([
      ['# one', 1],
      ['  -A A -s 10.0.0.1', 4],
      ['  -A A -s 10.0.0.2', 4],
      ['22', 6],
      ['end', 7],
    ]);
  });

  it('escapes nothing, and compares what a set block holds', async () => {
    expect((await render('{{ quote }}')).text).toBe(`a"b'c<d>&`);
    expect((await render('{% set a %}x{% endset %}{% if a == "x" %}same{% endif %}')).text).toBe('same');
    expect(
      (await render('{% macro m(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{% if m(1) == "12" %}same{% endif %}')).text,
    ).toBe('same');
  });

  it.each([
    ['{{ sever }}', '1:4 template-undefined there is no variable sever'],
    ['a\n  {% for s in sevrers %}x{% endfor %}', '2:15 template-undefined there is no variable sevrers'],
    ['{% if srever %}x{% endif %}', '1:7 template-undefined there is no variable srever'],
    ['{% for g in guests %}\n{{ g.adress }}{% endfor %}', '2:6 template-undefined there is no adress in it'],
    ['{% for n in libvirt.netwroks %}{% endfor %}', '1:21 template-undefined there is no netwroks in it'],
    ['{{ port | uper }}', '1:11 template-undefined there is no filter uper'],
    ['{% for n in (port | first) %}{% endfor %}', '1:13 template-undefined the list of this loop is not there'],
    ['a\n{{ (servers | reverse)[7] }}', '2:1 template-undefined attempted to output null or undefined value'],
    ['a\n{{ servers[7] }}', '2:12 template-undefined there is no 7 in it'],
    ['{% include "other" %}', '1:4 template-failed a rule template stands alone: no include'],
    ['a\n{% for s in servers %}\nx', '3:1 template-syntax'],
    ['a\n{{ port ', '2:'],
    ['{% fro s in servers %}', '1:4 template-syntax unknown block tag: fro'],
  ])('%j is refused with its place', async (source, expected) => {
    expect((await problems(source))[0]).toContain(expected);
  });

  it.each([
    ['{{ nowhere | default("x") }}', 'x'],
    ['{% if nowhere is defined %}a{% else %}b{% endif %}', 'b'],
    ['{% for g in guests %}{{ g.name }}{{ loop.index }}{% endfor %}', 'web1'],
    ['{% set a = 1 %}{{ a }}{{ range(2) | join(",") }}', '10,1'],
    ['{{ quote.length }}{{ servers.length }}{{ servers | length }}', '922'],
    ['{% for key, value in guests[0] %}{{ key }}={{ value }} {% endfor %}', 'name=web ip=192.168.122.10 '],
    ['{% raw %}{{ x }}{% endraw %}', '{{ x }}'],
  ])('%j gives %j', async (source, text) => {
    expect((await render(source)).text).toBe(text);
  });
});
