from tests.tools.conftest import load_tool


def test_images_per_second_of_each_backend_are_a_table(call_tool):
    code, out, err = call_tool(load_tool('benchmark_input'), '--images', '2', '--batch-size', '1', '--repeat', '1', '--width', '40',
                               '--height', '30', '--image-size', '32', '--workers', '0', '--backends', 'pillow')
    rows = [line.split(' | ') for line in out.splitlines() if line.startswith(('| plain', '| rand'))]
    assert code == 0 and [row[:2] for row in rows] == [['| plain', 'ours, pillow'], ['| rand', 'ours, pillow']], err
    assert all(float(row[2].split()[0]) > 0 for row in rows) and '2 JPEG files of 40 x 30 pixels' in out


def test_too_few_images_are_an_error(call_tool):
    code, _, err = call_tool(load_tool('benchmark_input'), '--images', '3', '--batch-size', '2')
    assert code == 2 and '--images 3 is less than two batches of 2' in err
