// `debug effect`: which packets change verdict between two rulesets, from files alone. Text of iptables-save, or of
// nft list ruleset. The host is not asked: what NAT's target is to it stays open.

import { classify } from '../classify/classify.ts';
import { compileIptables } from '../explain/iptables-rule.ts';
import { compileNft } from '../explain/nft-ruleset.ts';
import type { Program } from '../explain/program.ts';
import { effect } from '../explain/symbolic/effect.ts';
import { type Owners, summaryOf } from '../explain/symbolic/summary.ts';
import { printNft } from '../ruleset/nft/print.ts';
import { FAMILIES } from '../ruleset/types.ts';
import type { DebugOptions } from './debug.ts';
import { engineOf, familyOf, readDocument, readListing, readNetworks, useOwners } from './debug-filters.ts';
import { effectLines } from './effect-view.ts';
import { EXIT } from './exit-codes.ts';
import type { Session } from './session.ts';

interface Read {
  readonly program: Program;
  readonly owners: Owners;
}

export async function effectOfTexts(
  session: Session,
  before: string,
  after: string,
  options: DebugOptions,
): Promise<number> {
  await useOwners(session);
  const [a, b] = [await readOne(session, before, options), await readOne(session, after, options)];
  const families = engineOf(options) === 'nft' && options.family === undefined ? FAMILIES : [familyOf(options)];
  const found = effect(a.program, b.program, families);
  const classes = summaryOf(found, a.owners, b.owners);
  if (session.options.json === true) session.printJson({ kind: 'effect', complete: found.complete, classes });
  else for (const line of effectLines({ complete: found.complete, classes }, session.color)) session.printPainted(line);
  return classes.length === 0 && found.complete ? EXIT.ok : EXIT.drift;
}

async function readOne(session: Session, file: string, options: DebugOptions): Promise<Read> {
  if (engineOf(options) === 'nft')
    return { program: compileNft(printNft(await readListing(session, file))), owners: [] };
  const { ruleset } = await readDocument(session, file, familyOf(options));
  return { program: compileIptables(ruleset), owners: [classify(ruleset, await readNetworks(session, options))] };
}
