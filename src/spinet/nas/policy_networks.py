"""Networks for a distribution over a space: the paper's LSTM, and a table of logits."""

from collections import Counter
from collections.abc import Generator
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spinet.nas.settings import PolicySettings
from spinet.nas.space import Space


class PolicyNetwork(nn.Module):
    """Gives logits of every decision, given the choices before it; all zeros at initialization.

    Illegal options need no attention: `Policy` masks them.
    """

    def logits(self, choices: Tensor) -> Tensor:
        """Return the logits `(N, D, O)` of all decisions of whole points.

        Args:
            choices: `(N, D)` integers.
        """
        raise NotImplementedError

    def walk(self) -> Generator[Tensor, int, None]:
        """Yield the logits `(options,)` of one decision after another; each choice is sent back."""
        raise NotImplementedError


class Controller(PolicyNetwork):
    """The paper's controller: a one-layer LSTM that makes one decision after another (section 4; Zoph and Le 2017).

    Its input is the index of the decision plus the last choice, both embedded; each phase has its own head.

    Blocks share the head of a phase, whose options mean the same at every block (see `Decision`): what is learned
    about "the block right before and the one before that" at one block helps the others. The heads are initialized to
    zero, and so are the logits.

    Args:
        space: to be searched.
        settings: `hidden`, `init` and `seed` matter here.
    """

    def __init__(self, space: Space, settings: PolicySettings) -> None:
        super().__init__()
        decisions = space.decisions
        self._options = [decision.options for decision in decisions]
        self._phases = [decision.phase for decision in decisions]
        widths = {phase: max(d.options for d in decisions if d.phase == phase) for phase in self._phases}
        # Offsets of the phases in the one embedding table of all options.
        starts = dict(zip(widths, accumulate(widths.values(), initial=0), strict=False))
        self._starts = [starts[phase] for phase in self._phases]
        hidden = settings.hidden
        # Modules initialize themselves from the global generator, which must not advance; on "meta" they do not.
        self.position = nn.Embedding(len(decisions), hidden, device="meta")
        self.choice = nn.Embedding(sum(widths.values()), hidden, device="meta")
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True, device="meta")
        self.heads = nn.ModuleDict({phase: nn.Linear(hidden, width, device="meta") for phase, width in widths.items()})
        self._fill(settings)

    def logits(self, choices: Tensor) -> Tensor:
        """Return the logits of all decisions, `(N, D, O)`."""
        inputs = self.position.weight.expand(len(choices), -1, -1)
        before = self.choice(choices[:, :-1] + torch.tensor(self._starts[:-1]))
        states, _ = self.lstm(inputs + F.pad(before, (0, 0, 1, 0)))
        widest = max(self._options)
        parts, start = [], 0
        for phase, count in Counter(self._phases).items():  # a phase's decisions follow each other
            scores = self.heads[phase](states[:, start : start + count])
            parts.append(F.pad(scores, (0, widest - scores.shape[-1])))
            start += count
        return torch.cat(parts, 1)

    def walk(self) -> Generator[Tensor, int, None]:
        """Yield the logits of one decision after another; each choice is sent back."""
        input_weight, hidden_weight, *biases = self.lstm.all_weights[0]
        before = torch.zeros(self.lstm.hidden_size)
        state = (before[None], before[None])
        for index, (phase, options) in enumerate(zip(self._phases, self._options, strict=True)):
            inputs = (self.position.weight[index] + before)[None]
            state = torch.lstm_cell(inputs, state, input_weight, hidden_weight, *biases)
            chosen = yield self.heads[phase](state[0])[0, :options]
            before = self.choice.weight[self._starts[index] + chosen]

    @torch.no_grad()
    def _fill(self, settings: PolicySettings) -> None:
        self.to_empty(device="cpu")
        generator = torch.Generator().manual_seed(settings.seed)
        for name, weight in self.named_parameters():
            if name.startswith("heads."):
                weight.zero_()
            else:
                weight.uniform_(-settings.init, settings.init, generator=generator)


class FactoredNetwork(PolicyNetwork):
    """A table of logits for each decision, as in google-research/tunas.

    Only the masks of the ordering depend on earlier choices.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._options = [decision.options for decision in space.decisions]
        self.table = nn.Parameter(torch.zeros(len(self._options), max(self._options)))

    def logits(self, choices: Tensor) -> Tensor:
        """Return the table for each point, `(N, D, O)`."""
        return self.table.expand(len(choices), -1, -1)

    def walk(self) -> Generator[Tensor, int, None]:
        """Yield the rows of the table."""
        for row, options in zip(self.table, self._options, strict=True):
            yield row[:options]
