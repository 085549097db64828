// Rule files of old articles on a host of today: each is imported, checked and applied beside a real libvirt.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { ExecResult } from '../../src/host/host.ts';
import { installUserRules } from './actors.ts';
import { initGuard, mendwall, writeConfig } from './guard-process.ts';
import { type Hypervisor, upHypervisor } from './host.ts';
import { REPOSITORY } from './namespaces.ts';
import { RULES_DIR, rulesNow, writeRules } from './trials.ts';

let hypervisor: Hypervisor;
let before: string;

beforeAll(async () => {
  hypervisor = await upHypervisor({ name: 'mwz-articles' });
  await installUserRules(hypervisor);
  await initGuard(hypervisor);
  before = await rulesNow(hypervisor);
});
afterAll(() => hypervisor.down());
beforeEach(() => writeRules(hypervisor, {}));
afterEach(async () => {
  await mendwall(hypervisor, 'rollback');
  expect(await rulesNow(hypervisor)).toBe(before);
});

const article = (name: string): string => readFileSync(join(REPOSITORY, 'test/rules/articles', name), 'utf8');

async function importArticle(name: string, text = article(name)): Promise<ExecResult> {
  hypervisor.writeFile(`/root/${name}`, text);
  return mendwall(hypervisor, 'import', `/root/${name}`);
}

/** What was imported is applied; the rules of a chain that stand then. */
async function applied(chain: string): Promise<string[]> {
  const check = await mendwall(hypervisor, 'check');
  expect([0, 1], check.stdout + check.stderr).toContain(check.exitCode);
  const apply = await mendwall(hypervisor, 'apply', '--yes');
  expect(apply.exitCode, apply.stdout + apply.stderr).toBe(0);
  return (await hypervisor.sh(`iptables-save | grep -e '^-A ${chain} '`)).trim().split('\n');
}

const leftOut = ({ stdout }: ExecResult): string[] =>
  stdout.split('\n').flatMap((line) => /left out, (\S+)'s:/.exec(line)?.[1] ?? []);

describe('rule files of old articles', () => {
  it("iptables 1.3.5 with libvirt's rules: translated, libvirt's ten left out, the host's own two applied", async () => {
    const told = await importArticle('el5-xen.v4');
    expect(told.exitCode, told.stderr).toBe(0);
    expect(leftOut(told)).toEqual(Array.from({ length: 10 }, () => 'libvirt'));
    expect(told.stdout).toContain('translated: -s ! 198.51.100.0/255.255.255.0 -> ! -s');
    expect(await hypervisor.sh(`cat ${RULES_DIR}/50-el5-xen.v4`)).toContain(
      '# only the office may talk to the console',
    );
    expect(await applied('INPUT')).toContain('-A INPUT ! -s 198.51.100.0/24 -p tcp -m tcp --dport 5900:5910 -j DROP');
    expect(await hypervisor.sh('iptables-save -t nat')).toContain(
      '-A POSTROUTING -s 10.20.0.0/16 ! -d 10.20.0.0/16 -o eth0 -j SNAT --to-source 198.51.100.1',
    );
  });

  it("iptables 1.4.7 with libvirt's rules: the port forward stays above libvirt's REJECT", async () => {
    const told = await importArticle('f13-kvm.v4');
    expect(told.exitCode, told.stderr).toBe(0);
    expect(leftOut(told)).toHaveLength(10);
    const forward = await applied('FORWARD');
    expect(forward[0]).toBe('-A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 22 -j ACCEPT');
    expect(forward.slice(1).every((rule) => rule.includes('-j LIBVIRT_'))).toBe(true);
  });

  it('a template with `-i ! lo`: the place in the template, and what it becomes; put right, a rule a server', async () => {
    hypervisor.writeFile('/etc/mendwall/servers.txt', '198.51.100.7\n198.51.100.8 # backup\n');
    await writeConfig(hypervisor, '[vars]\nservers = { file = "servers.txt" }\n');
    await writeRules(hypervisor, { '10-servers.v4.j2': article('servers.v4.j2') });
    const told = await mendwall(hypervisor, 'check');
    expect(told.exitCode).toBe(2);
    expect(told.stdout).toMatch(/10-servers\.v4\.j2:4:\d+: old-dialect: .*expected "! -i lo"/);
    expect((await mendwall(hypervisor, 'apply', '--yes')).exitCode).toBe(2);
    await writeRules(hypervisor, { '10-servers.v4.j2': article('servers.v4.j2').replaceAll('-i ! lo', '! -i lo') });
    const rules = await applied('INPUT');
    for (const server of ['198.51.100.7', '198.51.100.8'])
      expect(rules).toContain(`-A INPUT -s ${server}/32 ! -i lo -p tcp -m multiport --dports 22,5666 -j ACCEPT`);
  });

  it('blocks with -P lines and the typing error: nothing is written, the right word is named; put right, both are applied', async () => {
    const told = await importArticle('blocks.v4');
    expect(told).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/blocks\.v4:8:31: unknown-target: .*ACCPET.*ACCEPT/) as string,
    });
    expect((await hypervisor.sh(`ls ${RULES_DIR}`)).trim()).toBe('');
    const right = await importArticle('blocks.v4', article('blocks.v4').replace('ACCPET', 'ACCEPT'));
    expect(right.exitCode, right.stderr).toBe(0);
    expect((await importArticle('blocks.v6')).exitCode).toBe(0);
    expect(await applied('INPUT')).toContain('-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT');
    expect(await hypervisor.sh('iptables -S INPUT; ip6tables -S INPUT')).toMatch(/^-P INPUT DROP$[^]*^-P INPUT DROP$/m);
  });

  it("a compute node's dump of 2015: nova's chains and jumps are left out, the host's own rules are applied", async () => {
    const told = await importArticle('nova-2015.v4');
    expect(told.exitCode, told.stderr).toBe(0);
    expect(new Set(leftOut(told))).toEqual(new Set(['openstack-nova']));
    expect(await hypervisor.sh(`cat ${RULES_DIR}/50-nova-2015.v4`)).not.toMatch(/^[:-].*nova-(?!compute incoming)/m);
    const rules = await applied('INPUT');
    expect(rules.filter((rule) => !rule.includes('LIBVIRT'))).toHaveLength(5);
    expect(await hypervisor.sh('iptables-save')).not.toContain('nova-filter-top');
  });
});
