// A native chain in a table of iptables' to which nothing leads any more, right after a flush: for the verbs it is native still.

import { describe, expect, it } from 'vitest';

import { nativePart, rulesOf } from '../../src/ruleset/nft/native-part.ts';
import { parseNft } from '../../src/ruleset/nft/parse.ts';
import { readForLooking, readLive } from '../../src/verbs/hand.ts';
import { readLiveNative } from '../../src/verbs/native.ts';
import { type LiveWorld, openWorld } from './fixture.ts';

const filter = (jump: string): string => `table ip filter {
	chain input {
		type filter hook input priority filter; policy accept;
${jump}	}
	chain web {
		ip saddr 10.0.0.0/8 accept
	}
}
`;
const JUMP = '\t\ttcp dport 80 jump web\n';

/** iptables shows `web`, since it has no hook; nft lists the whole table, from which `nft flush chain ip filter input` took the jump. */
async function flushed(wish: string): Promise<LiveWorld> {
  const world = await openWorld();
  world.fake.answer('nft', () => ({ stdout: filter('') }));
  const { memory } = world.context;
  memory.wish = { ...memory.wish, native: nativePart(parseNft(wish).tables) };
  return world;
}

async function seenIn({ context }: LiveWorld): Promise<unknown> {
  const [native, looked, live] = [
    await readLiveNative(context),
    await readForLooking(context),
    await readLive(context),
  ];
  if (native.kind === 'refused' || 'code' in looked || live.kind === 'refused') throw new Error('refused');
  const hasWeb = (families: typeof looked): boolean =>
    families.some(({ classified }) => classified.ruleset.tables.get('filter')?.chains.has('web') === true);
  return {
    native: [...native.part.values()].flatMap(rulesOf).map(({ chain }) => chain),
    iptables: [hasWeb(looked), hasWeb(live.families)],
  };
}

describe('a chain that nothing leads to', () => {
  it('is native where the wish has it so', async () => {
    expect(await seenIn(await flushed(filter(JUMP)))).toEqual({ native: ['web'], iptables: [false, false] });
  });

  it('is iptables’ where nobody knows it', async () => {
    expect(await seenIn(await flushed(''))).toEqual({ native: [], iptables: [true, true] });
  });
});
