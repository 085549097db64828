// The scenarios of one engine: every deed once, then a random sequence of them. With LAB_FULL=1 ten times each.
// SEED=n repeats one random sequence.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { installUserRules } from './actors.ts';
import { checkDeed, expectLibvirtSound, type Figures, type Stage, wallNow } from './deed-check.ts';
import { type Deed, deedsFor } from './deeds.ts';
import { type GuardRun, initGuard, startGuard } from './guard-process.ts';
import { type Engine, type Hypervisor, type HypervisorOptions, upHypervisor } from './host.ts';
import { SEED } from '../generate/seed.ts';
import { usersOf, type Wall } from './yardstick.ts';

const TIMES = process.env['LAB_FULL'] === '1' ? 10 : 1;
const SEQUENCE_LENGTH = 20;
/** With the nftables backend some deeds wait for peace: see `idle` in deed-check.ts. */
const SEQUENCE_TIMEOUT_MS = 600_000;

export interface StageOptions extends Omit<HypervisorOptions, 'name'> {
  readonly guard: GuardRun;
  /** Text of mendwall.toml. */
  readonly config: string;
}

/** A hypervisor with one guest, the admin's rules, a snapshot of them and a guard at rest. */
export async function upStage(engine: Engine, options: Partial<StageOptions> = {}): Promise<Stage> {
  const { guard: run, config = '', ...rest } = options;
  const hypervisor = await upHypervisor({ name: `mwz-${engine}`, engine, ...rest });
  await hypervisor.addGuest();
  await installUserRules(hypervisor);
  await initGuard(hypervisor);
  await writeConfig(hypervisor, config);
  return { hypervisor, guard: await startGuard(hypervisor, run) };
}

/** The guard refuses a configuration that others may write. */
export async function writeConfig(hypervisor: Hypervisor, text: string): Promise<void> {
  await hypervisor.sh(
    'mkdir -p /etc/mendwall; cat > /etc/mendwall/mendwall.toml; chmod 0640 /etc/mendwall/mendwall.toml',
    { input: text },
  );
}

/** Which hypervisor the scenarios run on. */
type Variant = Pick<HypervisorOptions, 'libvirt' | 'backend'>;

/** Declares the tests of one engine. */
export function describeScenarios(engine: Engine, variant: Variant = {}): void {
  const { libvirt = '9', backend = 'iptables' } = variant;
  const name = `iptables-${engine}, libvirt ${libvirt} with ${backend}`;
  const deeds = deedsFor({ engine, backend });
  describe.each(Array.from({ length: TIMES }, (_, round) => round + 1))(`${name}, round %i`, (round) => {
    describe('each deed ends as it must', () => {
      let stage: Stage;
      const figures: Figures[] = [];
      beforeAll(async () => void (stage = await upStage(engine, variant)));
      afterAll(async () => {
        print(figures);
        await stage.hypervisor.down();
      });

      it.each(deeds)('$name: user rules $ending', async (deed) => {
        const before = await wallNow(stage.hypervisor);
        figures.push(await checkDeed(stage, deed));
        if (deed.ending === 'as-left') expect(usersOf(await wallNow(stage.hypervisor))).not.toEqual(usersOf(before));
      });

      it('and libvirt works on without an error', () => expectLibvirtSound(stage));
    });

    it(
      `a random sequence of ${SEQUENCE_LENGTH} deeds ends as it must after each of them`,
      async () => {
        const seed = SEED + round - 1;
        console.info(`random sequence on ${name}: SEED=${seed}`);
        const stage = await upStage(engine, variant);
        try {
          await runSequence(stage, seed);
          await expectLibvirtSound(stage);
        } finally {
          await stage.hypervisor.down();
        }
      },
      SEQUENCE_TIMEOUT_MS,
    );
  });
}

async function runSequence(stage: Stage, seed: number): Promise<void> {
  const random = seededRandom(seed);
  for (let done = 0; done < SEQUENCE_LENGTH; done++) {
    const users = usersOf(await wallNow(stage.hypervisor));
    const possible = deedsFor(stage.hypervisor).filter((deed) => isPossible(deed, users));
    const deed = possible[Math.floor(random() * possible.length)]!;
    await checkDeed(stage, { ...deed, name: `${deed.name} (number ${done + 1} of SEED=${seed})` });
  }
}

/** `iptables -D ADMIN 1` needs a rule there, as does `nft delete rule`. */
function isPossible(deed: Deed, users: Wall): boolean {
  if (deed.name === 'nft delete rule')
    return !/chain admin \{\n\t\}/.test((users.rules.get('native inet filter') ?? []).join('\n'));
  return !/iptables -[DR]/.test(deed.name) || (users.rules.get('ip filter ADMIN') ?? []).length > 0;
}

/** mulberry32: the same numbers for the same seed everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function print(figures: readonly Figures[]): void {
  const rows = figures.map(({ deed, tookMs, gapMs }) =>
    [
      deed.padEnd(46),
      String(tookMs).padStart(6),
      ...['dhcp', 'dns', 'natOut', 'portForwardIn'].map((kind) => String(gapMs[kind] ?? '-').padStart(8)),
    ].join(''),
  );
  console.info(
    ['ms: the deed itself, then for how long DHCP, DNS, NAT out and the port forward were gone', ...rows].join('\n'),
  );
}
