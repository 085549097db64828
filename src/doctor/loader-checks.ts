// Programs that load a whole ruleset and wipe others' with it: which of them start here, and what each takes. Pure.
// Facts: measured with Debian 12's packages, each in a network namespace, beside libvirt's, Docker's and an admin's rules.

import {
  type Check,
  type Facts,
  fail,
  type Finding,
  GUARD,
  isMended,
  judged,
  pass,
  type Rules,
  warn,
} from './types.ts';

interface Loader {
  readonly unit: string;
  /** Its switch: without this line in this file the unit does nothing. */
  readonly on?: { readonly file: string; readonly form: RegExp };
  says(facts: Facts): string;
}

const FERM = '/etc/ferm/ferm.conf';
const PERSISTENT = '/etc/default/netfilter-persistent';
const LEGACY = 'it writes through iptables-legacy where that is installed, whatever `iptables` is';

const LOADERS: readonly Loader[] = [
  {
    unit: 'netfilter-persistent.service',
    says: (facts) =>
      textOf(facts, PERSISTENT).match(/^\s*IPTABLES_RESTORE_NOFLUSH=["']?yes/m)
        ? `each reload appends the whole file again (IPTABLES_RESTORE_NOFLUSH=yes in ${PERSISTENT})`
        : 'start and reload replace every table that is in rules.v4 and rules.v6, with all that others have in it',
  },
  {
    unit: 'nftables.service',
    says: () => '`systemctl stop nftables` runs `nft flush ruleset`; start and reload do what its file says',
  },
  {
    unit: 'ferm.service',
    on: { file: '/etc/default/ferm', form: /^\s*ENABLED=["']?yes/m },
    says: (facts) =>
      `start and reload replace every table it knows${textOf(facts, FERM).includes('@preserve') ? `, but chains under @preserve in ${FERM}` : ''}; ${LEGACY}`,
  },
  {
    unit: 'firehol.service',
    on: { file: '/etc/default/firehol', form: /^\s*START_FIREHOL=["']?yes/im },
    says: () => `start and restart replace every table, stop flushes and accepts all; ${LEGACY}`,
  },
  {
    unit: 'shorewall.service',
    on: { file: '/etc/shorewall/shorewall.conf', form: /^\s*STARTUP_ENABLED=["']?yes/im },
    says: (facts) =>
      `start and reload replace every table (LIBVIRT_* is lost${/^\s*DOCKER=["']?yes/im.test(textOf(facts, '/etc/shorewall/shorewall.conf')) ? '; DOCKER=Yes keeps Docker’s chains' : ''})`,
  },
  {
    unit: 'arno-iptables-firewall.service',
    says: () => 'start flushes everything; restart leaves LIBVIRT_* there, with nothing that jumps to them',
  },
];

/** Files that the checks of other programs read. */
export const PROGRAM_FILES: readonly string[] = [
  PERSISTENT,
  FERM,
  ...LOADERS.flatMap(({ on }) => (on === undefined ? [] : [on.file])),
  '/etc/ufw/ufw.conf',
  '/etc/default/ufw',
  '/etc/firewalld/firewalld.conf',
  '/etc/firewalld/direct.xml',
];

function textOf({ files }: Facts, path: string): string {
  const read = files.get(path);
  return read?.kind === 'read' ? (read.value ?? '') : '';
}

export const bootLoaders: Check = {
  id: 'boot-loaders',
  judge: (facts) =>
    judged(facts.enabled, 'no program that loads a whole ruleset starts at boot', (units) =>
      LOADERS.filter(({ unit }) => units.has(unit))
        .filter(({ on }) => on === undefined || on.form.test(textOf(facts, on.file)))
        .map(({ unit, says }) => {
          const evidence = `${unit}: ${says(facts)}`;
          return isMended(facts) ? pass(`${evidence}; mendwall puts the others back`) : warn(evidence, GUARD);
        }),
    ),
};

// ---- firewalld

/** Up to 1.3 it flushes everybody's iptables rules, with both backends; since 2.0 only with a direct rule. */
export const firewalldReload: Check = {
  id: 'firewalld-reload',
  judge: (facts) =>
    judged(facts.firewalld, 'firewalld does not run', ({ running, version }) => {
      if (!running) return [];
      const config = textOf(facts, '/etc/firewalld/firewalld.conf');
      const setting = (key: string, usual: string): string =>
        new RegExp(`^\\s*${key}\\s*=\\s*(\\w+)`, 'm').exec(config)?.[1] ?? usual; // FirewallBackend=nftables
      const about = `firewalld ${version ?? '(version not known)'}, FirewallBackend=${setting('FirewallBackend', 'nftables')}, FlushAllOnReload=${setting('FlushAllOnReload', 'yes')}, libvirt’s backend: ${backendOf(facts)}`;
      return [firewalldFinding(facts, about, version)];
    }),
};

function firewalldFinding(facts: Facts, about: string, version: string | undefined): Finding {
  const isOld = version === undefined || Number(version.split('.')[0]) < 2;
  const hasDirect = /<(?:rule|passthrough)\b/.test(textOf(facts, '/etc/firewalld/direct.xml'));
  if (!isOld && !hasDirect) return pass(`${about}; a reload leaves others’ rules alone until there is a direct rule`);
  const evidence = `${about}: start, reload and stop flush everybody’s iptables and ebtables rules${isOld ? '' : ', because it has direct rules'}; libvirt and Docker come back on its signal, your own rules do not`;
  return isMended(facts) ? pass(`${evidence}; mendwall puts them back`) : warn(evidence, GUARD);
}

function backendOf({ rules }: Facts): string {
  if (rules.kind === 'unread') return 'not known';
  const { libvirtNative, families }: Rules = rules.value;
  if (libvirtNative) return 'nftables';
  const hasChains = families.some(({ tables }) => tables.get('filter')?.chains.has('LIBVIRT_FWI') === true);
  return hasChains ? 'iptables' : 'none';
}

// ---- ufw

/** After `iptables -F` ufw adds its jumps no more: INPUT is policy DROP with no rule, and nobody comes in. */
export const ufwLockout: Check = {
  id: 'ufw-lockout',
  judge: (facts) => {
    const conf = facts.files.get('/etc/ufw/ufw.conf') ?? { kind: 'read', value: undefined };
    return judged(conf, 'ufw is not enabled', (text) => {
      if (!/^\s*ENABLED=["']?yes/im.test(text ?? '')) return [];
      return judged(facts.rules, 'ufw is enabled, and INPUT leads to its chains', (rules) => ufwFindings(facts, rules));
    });
  },
};

const UFW_REBUILD = `ufw --force disable; for t in iptables ip6tables; do for o in -F -X; do $t-save -t filter | sed -n 's/^:\\(ufw6*-[^ ]*\\) .*/\\1/p' | xargs -rn1 $t $o; done; done; ufw --force enable`;

function ufwFindings(facts: Facts, { families }: Rules): Finding[] {
  const noIpv6 = /^\s*IPV6=["']?no/im.test(textOf(facts, '/etc/default/ufw'));
  return families.flatMap(({ ruleset, tables }) => {
    if (ruleset.family === 'ip6' && noIpv6) return [];
    const input = tables.get('filter')?.chains.get('INPUT')?.chain;
    if (input?.rules.some(({ text }) => / -j ufw6?-before-input$/.test(text))) return [];
    const where = `${ruleset.family} filter INPUT`;
    return input?.policy === 'DROP'
      ? [
          fail(
            `ufw is enabled, ${where} is policy DROP and does not lead to ufw’s chains: nobody new comes in`,
            UFW_REBUILD,
          ),
        ]
      : [fail(`ufw is enabled, and ${where} does not lead to its chains: it filters nothing`, UFW_REBUILD)];
  });
}
