"""Loss, speed and waiting time of a training between two reports."""
import time


class Meter:
    """Measures the mean loss, images/s and the share of time spent waiting for data, since the last reset. Losses stay on the
    device until they are read."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.batches, self.images, self.waited, self.begin = 0.0, 0, 0, 0.0, time.perf_counter()

    def next(self, batches):
        """The next (images, labels) of an iterator. The time that this takes counts as waiting."""
        begin = time.perf_counter()
        images, labels = next(batches)
        self.waited += time.perf_counter() - begin
        self.images += len(images)
        return images, labels

    def add(self, losses):
        for loss in losses:
            self.total, self.batches = self.total + loss, self.batches + 1

    def state(self):
        return [float(self.total), self.batches]

    def restore(self, total, batches):
        self.total, self.batches = total, batches

    def means(self, group):
        """(mean loss, share of time spent waiting for data, 0 to 1), both averaged over all processes."""
        loss, waiting = group.sum([float(self.total) / self.batches, self.waiting()])
        return loss / group.world_size, waiting / group.world_size

    def waiting(self):
        return self.waited / (time.perf_counter() - self.begin)

    def images_per_second(self):
        return self.images / (time.perf_counter() - self.begin)
