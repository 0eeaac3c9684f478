"""The results as Markdown: a row for each network, what it did and its batch size, a column for each contender."""
from image_classification.deploy.engines import ENGINES

from benchmarking.contenders import EAGER

OURS = (*EAGER, *ENGINES)


def columns(results):
    """Labels of all contenders. First come comparable ones: our exports, peers' exports in the same engine, and compiled
    PyTorch. Then our others follow, then the other peers, each group in the order of first appearance."""
    labels = {}
    for result in results:
        for contender in result['contenders']:
            labels.setdefault(contender['label'], contender['who'])
    engines = {_engine(label) for label in labels}

    def place(label):
        if labels[label] in OURS:
            return 0 if label in engines else 3
        return 1 if _engine(label) in labels else 2 if label.endswith(', compiled') else 4
    return sorted(labels, key=place)


def _engine(label):
    """The part of a peer's label that names the engine of its export, or ''."""
    return label.partition(', ')[2]


def ratios(contenders):
    """{peer's label: {our label: how many times as fast ours is}}, from medians."""
    timed = [contender for contender in contenders if not contender['error']]
    ours = {contender['label']: contender['median'] for contender in timed if contender['who'] in OURS}
    return {peer['label']: {label: peer['median'] / median for label, median in ours.items()}
            for peer in timed if peer['who'] not in OURS}


def head(labels, first=('model', 'px', 'what', 'batch')):
    return f'| {" | ".join([*first, *labels])} |\n|{"---|" * (len(first) + len(labels))}\n'


def row(result, labels):
    """Milliseconds: median and half the interquartile range. A peer's cell also says how many times as fast ours are."""
    cells = {contender['label']: cell(contender) for contender in result['contenders']}
    for peer, faster in result['ratios'].items():
        same = _engine(peer) if _engine(peer) in faster else 'eager'   # our counterpart
        others = [ratio for label, ratio in faster.items() if label != same]
        said = [f'{same} {faster[same]:.2f}'] if same in faster else []
        said += [f'best {max(others):.2f}'] if others else []
        cells[peer] += f' ({", ".join(said)})' if said else ''
    return line(result, [cells.get(label, '-') for label in labels])


def memory_row(result, labels):
    """Peak memory of each process in MiB."""
    cells = {contender['label']: f'{contender["peak_mib"]:.0f}' for contender in result['contenders']
             if contender.get('peak_mib')}
    return line(result, [cells.get(label, '-') for label in labels])


def line(result, cells):
    return f'| {" | ".join([result["model"], str(result["size"]), result["what"], str(result["batch"]), *cells])} |\n'


def cell(contender):
    if not contender['error']:
        digits = 2 if contender['median'] < 10 else 1 if contender['median'] < 100 else 0
        return f'{contender["median"]:.{digits}f} ± {contender["spread"]:.{digits}f}'
    return 'not installed' if contender['error'].startswith('ModuleNotFoundError') else 'failed'


def failures(results):
    """One line for each contender that failed, with the reason."""
    return [f'{result["model"]}, {result["what"]}, batch {result["batch"]}, {contender["label"]}: {contender["error"]}\n'
            for result in results for contender in result['contenders'] if contender['error']]
