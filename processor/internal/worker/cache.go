package worker

import "sync/atomic"

// CacheBudget bounds the caches of all tasks of a process. Each task that runs has an equal part of it, whichever worker it is
// with.
type CacheBudget struct {
	bytes int
	tasks atomic.Int32
}

// NewCacheBudget makes the budget of some bytes.
func NewCacheBudget(bytes int) *CacheBudget { return &CacheBudget{bytes: bytes} }

func (b *CacheBudget) each() int { return b.bytes / max(1, int(b.tasks.Load())) }

// own adds a task to those that run.
func (w *Worker) own(o *owned) {
	w.tasks[o.task.Partition()] = o
	w.cfg.Cache.tasks.Add(1)
	w.shareCache()
}

// disown takes it away.
func (w *Worker) disown(o *owned) {
	delete(w.tasks, o.task.Partition())
	w.cfg.Cache.tasks.Add(-1)
}

// shareCache gives each task its part, where that has changed: other workers took tasks, or gave them up.
func (w *Worker) shareCache() {
	part := w.cfg.Cache.each()
	for _, o := range w.tasks {
		o.task.SetCacheBytes(part)
	}
	w.cacheBytes = part
}
