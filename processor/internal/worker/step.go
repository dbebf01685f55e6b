package worker

// Step is a point of the worker's way at which a test may stop it.
type Step int

// The steps of a commit, in order, and the other ones.
const (
	Prepared     Step = iota // changelog records are handed to the session
	Flushed                  // all records are acknowledged
	OffsetsAdded             // the offsets are in the transaction
	Ended                    // the broker confirmed the commit
	Kept                     // the overlay is in the cache
	Frozen                   // a batch left for the store
	endOfCommit

	Polled    Step = iota - 1 // a record is at hand
	Stepped                   // its effects are in the overlay
	Produced                  // effects are handed to the session
	Applied                   // the store answers with a batch
	Acquired                  // a partition was given to the worker
	ReadBack                  // a part of a changelog was read
	Restored                  // a task's state is complete
	Opened                    // a task runs
	Releasing                 // a running task is asked back
	Released                  // nothing of it is left here
	endOfSteps
)

var stepNames = [endOfSteps]string{"prepared", "flushed", "offsets-added", "ended", "kept", "frozen", "polled", "stepped",
	"produced", "applied", "acquired", "read-back", "restored", "opened", "releasing", "released"}

func (s Step) String() string { return stepNames[s] }

const (
	// CommitSteps is how many there are of a commit: 0 to CommitSteps-1.
	CommitSteps = int(endOfCommit)
	// Steps is how many there are in all.
	Steps = int(endOfSteps)
)

func (w *Worker) step(s Step) error {
	if w.cfg.Step == nil {
		return nil
	}
	return w.cfg.Step(s)
}
