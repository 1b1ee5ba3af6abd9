package detect

import (
	"fmt"
	"strings"
	"time"
)

const (
	// ClassIO: threads wait for a device that completes nothing.
	ClassIO Class = "io"
	// ClassBlocked: threads wait for a sleeping lock.
	ClassBlocked Class = "blocked"
)

// TaskThresholds are the limits of the rule about threads that wait.
type TaskThresholds struct {
	// Blocked is how long a thread must wait for a sleeping lock.
	Blocked time.Duration
	// IO is how long a thread must wait for I/O while no other wait for I/O ends.
	IO time.Duration
	// Waiting is how long a thread must be in uninterruptible sleep for whatever
	// reason. The kernel's own limit is 120 s (kernel.hung_task_timeout_secs).
	Waiting time.Duration
}

func (t *TaskThresholds) entry() entry {
	waiting := milliseconds(&t.Waiting, "waiting_ms", 30_000, "a thread is in uninterruptible sleep for any reason")
	return entry{
		start: func() rule { return &taskRule{t: *t} },
		classes: []class{
			{
				Info: Info{
					Class: ClassIO, Severity: 20, Waits: true,
					Reads: "threads in uninterruptible sleep, their task switches and stacks",
					Early: "waits for I/O, and no wait for I/O ends",
					Late:  "waits for I/O for very long, even if other waits end",
				},
				knobs: []knob{
					milliseconds(&t.IO, "io_ms", 2500, "a thread waits for I/O, and none completes"), waiting,
				},
				needsKernel: true,
			},
			{
				Info: Info{
					Class: ClassBlocked, Severity: 10, Waits: true,
					Reads: "threads in uninterruptible sleep, their task switches, stacks, locks and owners",
					Early: "waits for a sleeping lock that no other thread gets, and the owner does not wait for I/O",
					Late:  "in uninterruptible sleep for very long, for whatever reason",
				},
				knobs: []knob{
					milliseconds(&t.Blocked, "blocked_ms", 2500, "a thread waits for a sleeping lock"), waiting,
				},
				needsKernel: true,
			},
		},
	}
}

// taskRule finds threads in uninterruptible sleep that do not wake: class io if they
// wait for I/O, blocked if they wait for a sleeping lock. Such a thread has not
// run since: its count of task switches stands still, or it has only checked
// whether its I/O is over (see sameWait).
//
// Early, on evidence: the stack or the lock says what the thread waits for, and
// nothing shows progress. Five things may explain the wait, and then the rule does
// not decide early:
//   - Other waits for I/O end: the device works and is perhaps slow.
//   - Others get the lock: it is contended.
//   - The owner of the lock waits for I/O, or the lock has no name and there is I/O:
//     the disk is slow.
//   - An old wait for I/O may explain waits for locks: it is judged first.
//   - The owner of the lock is runnable: it waits for a CPU. If it never releases the
//     lock, the rules about vCPUs find it.
//
// Late, on silence: whatever the thread waits for. Two kinds of threads may sleep
// for ever and are left out: the parent in vfork, and kernel threads that have not
// started yet.
type taskRule struct {
	t TaskThresholds

	waits       []wait // known waits, at most maxWaits
	ioNS        int64  // last inspection with a wait for I/O that had begun or ended; 0 for never
	ioEndNS     int64  // last one with a wait for I/O that had ended; 0 for never
	inspections int    // since restart
	level       level
	class       Class // of the verdict; "" for none
	total       int   // threads that wait

	sectors, wasSectors uint64 // Kernel.IOSectors of this inspection and the last; 0 if not read
	nowNS, wasNS        int64  // times of these
}

// wait is one stay of a thread in uninterruptible sleep.
type wait struct {
	pid         int32
	comm        string
	switches    uint64
	sinceNS     int64 // first inspection that showed it
	lastNS      int64 // last one
	inspections int   // that showed it
	unseen      int   // inspections since then
	kind        Class // io, blocked, or "" for neither
	timed       bool  // the kernel wakes it now and then to check whether its I/O is over
	wakes       uint64
	benign      bool   // it may last for ever; its kind is ""
	function    string // that tells the kind, or the innermost
	lock, owner string
	ownerRuns   bool  // at the last inspection
	movedNS     int64 // last time that another thread's wait for the same lock ended; 0 for never
	hangs       bool
	late        bool // decided by its length alone
}

const (
	// maxWaits is the number of waits remembered. An inspection shows at most
	// MaxWaiting. If there are more, it does not always show the same.
	maxWaits = 4 * MaxWaiting
	// maxUnseen is for how many incomplete inspections a wait is remembered that
	// they do not show.
	maxUnseen = 8
)

func (r *taskRule) restart(int) {
	if r.waits == nil {
		r.waits = make([]wait, 0, maxWaits)
	}
	*r = taskRule{t: r.t, waits: r.waits[:0]}
}

func (r *taskRule) observe(s *step) level {
	k := s.kernel
	if k == nil {
		return r.level
	}
	if len(k.Waiting) == 0 && k.Walked == 0 {
		return r.level // the task list could not be read at all
	}
	r.inspections++
	r.wasSectors, r.sectors = r.sectors, k.IOSectors
	r.wasNS, r.nowNS = r.nowNS, s.t
	r.total = max(k.WaitingTotal, len(k.Waiting))
	for i := range k.Waiting[:min(len(k.Waiting), MaxWaiting)] {
		r.take(&k.Waiting[i])
	}
	r.forget(complete(k))
	r.level = r.judge(s.t)
	return r.level
}

// complete reports whether an inspection shows every waiting thread. The walk of
// the task list must have met as many threads as there are, apart from those that
// came and went meanwhile. Other things that could not be read do not matter.
func complete(k *Kernel) bool {
	if k.WaitingTotal > len(k.Waiting) || len(k.Waiting) > MaxWaiting {
		return false
	}
	if k.Threads == 0 {
		return len(k.Unreadable) == 0
	}
	missing := int64(k.Threads) - int64(k.Walked)
	return max(missing, -missing) <= 4+int64(k.Threads)/8
}

// judge decides on every wait.
func (r *taskRule) judge(t int64) level {
	l := calm
	if r.inspections < 2 {
		l = blind
	}
	ioFirst := r.oldIO(t)
	r.class = ""
	for i := range r.waits {
		w := &r.waits[i]
		w.hangs, w.late = r.stuck(w, t, ioFirst)
		switch {
		case w.hangs && (w.kind == ClassIO || r.class == ""):
			// A thread that waits for a lock may wait for one that waits for the device.
			r.class = ClassBlocked
			if w.kind == ClassIO {
				r.class = ClassIO
			}
			l = hung
		case l == calm && w.kind != "" && t-w.sinceNS >= int64(min(r.t.Blocked, r.t.IO))/4:
			l = watching
		}
	}
	return l
}

// take begins the wait of a thread that an inspection shows, or continues it.
func (r *taskRule) take(k *Waiting) {
	t := r.nowNS
	w := r.find(k.PID)
	if w != nil && w.comm == k.Comm && (w.switches == k.Switches || r.sameWait(w, k)) {
		w.wakes += k.Switches - w.switches
		w.switches = k.Switches
		if w.lastNS != t {
			w.lastNS, w.unseen = t, 0
			w.inspections++
		}
		// A stack or an owner may be unreadable now and then.
		if w.kind == "" {
			w.explain(k)
		}
		if k.Lock != "" {
			w.lock = k.Lock
		}
		if k.Owner != "" {
			w.owner = k.Owner
		}
		w.ownerRuns = k.OwnerRunnable
		return
	}
	if w != nil {
		r.end(w)
	} else {
		if len(r.waits) == maxWaits {
			return
		}
		r.waits = r.waits[:len(r.waits)+1]
		w = &r.waits[len(r.waits)-1]
	}
	*w = wait{
		pid: k.PID, comm: k.Comm, switches: k.Switches, sinceNS: t, lastNS: t, inspections: 1,
		lock: k.Lock, owner: k.Owner, ownerRuns: k.OwnerRunnable,
	}
	w.explain(k)
	if w.kind == ClassIO {
		r.ioNS = t
	}
}

// find returns the wait of a thread, or nil.
func (r *taskRule) find(pid int32) *wait {
	for i := range r.waits {
		if r.waits[i].pid == pid {
			return &r.waits[i]
		}
	}
	return nil
}

// explain sets what the stack of a thread tells of its wait.
func (w *wait) explain(k *Waiting) {
	w.kind, w.function, w.benign = reasonOf(k)
	w.timed = w.kind == ClassIO && timedWait(k.Stack)
}

// timedWake is the shortest time, in ns, after which the kernel may wake a thread
// to check whether its I/O is over. The kernel waits half of hung_task_timeout_secs,
// which is 0.5 s or more.
const timedWake = 250e6

// sameWait reports whether a thread that has run since the last inspection is
// still in the same wait. A thread that waits for a block device in blk_io_schedule
// or blk_wait_io is woken at half the hung-task timeout, so that the kernel's own
// watchdog does not report it, and sleeps again. It cannot have begun another wait
// of that kind unless a read or a write was handed to a device, and IOSectors shows
// none.
func (r *taskRule) sameWait(w *wait, k *Waiting) bool {
	if !w.timed || w.lastNS != r.wasNS || r.sectors == 0 || r.sectors != r.wasSectors || !timedWait(k.Stack) {
		return false
	}
	most := 1 + uint64(r.nowNS-r.wasNS)/timedWake
	return k.Switches-w.switches <= most // a count that went back gives a large number
}

// timedWait reports whether a thread waits for a read or a write in a function
// where the kernel wakes it now and then. Flushes, discards and zone operations
// wait there too. They are left out, because they are not counted as I/O.
func timedWait(stack []string) bool {
	timed := false
	for _, f := range stack[:min(len(stack), maxCallers)] {
		switch f = bare(f); {
		case f == "blk_io_schedule", f == "submit_bio_wait":
			timed = true
		case hasPrefix(f, "blkdev_issue_", "blkdev_zone_"):
			return false
		}
	}
	return timed
}

// end notes that a wait has ended: the device or the lock works.
func (r *taskRule) end(w *wait) {
	switch {
	case w.kind == ClassIO:
		r.ioNS, r.ioEndNS = r.nowNS, r.nowNS
	case w.lock != "":
		for i := range r.waits {
			if other := &r.waits[i]; other.lock == w.lock {
				other.movedNS = r.nowNS
			}
		}
	}
}

// forget drops the waits that the inspection does not show. An incomplete
// inspection may have left them out, so they are remembered for some inspections.
func (r *taskRule) forget(complete bool) {
	n := 0
	for i := range r.waits {
		w := &r.waits[i]
		if w.lastNS != r.nowNS {
			if complete {
				r.end(w)
				continue
			}
			if w.unseen++; w.unseen > maxUnseen {
				continue
			}
		}
		r.waits[n] = *w
		n++
	}
	r.waits = r.waits[:n]
}

// oldIO reports whether a wait for I/O is so old that it may explain waits for
// locks.
func (r *taskRule) oldIO(t int64) bool {
	for i := range r.waits {
		if w := &r.waits[i]; w.kind == ClassIO && t-w.sinceNS >= int64(r.t.IO)/2 {
			return true
		}
	}
	return false
}

// stuck decides on one wait. late is true if its length alone decided.
func (r *taskRule) stuck(w *wait, t int64, ioFirst bool) (stuck, late bool) {
	age := t - w.sinceNS
	if w.inspections < minSamples || w.benign || w.lastNS != t {
		return false, false
	}
	switch {
	case age >= int64(r.t.Waiting):
		return true, true
	case w.kind == ClassIO:
		return age >= int64(r.t.IO) && (r.ioEndNS == 0 || t-r.ioEndNS >= int64(r.t.IO)), false
	case w.kind != ClassBlocked || age < int64(r.t.Blocked):
		return false, false
	case ioFirst && age < 2*int64(r.t.Blocked):
		return false, false
	case w.movedNS != 0 && t-w.movedNS < int64(r.t.Blocked):
		return false, false
	case w.ownerRuns, r.waitsForIO(w.owner):
		return false, false
	case w.lock == "" && r.ioNS != 0 && t-r.ioNS < int64(r.t.Blocked):
		return false, false
	}
	return true, false
}

// waitsForIO reports whether the owner of a lock, such as "kworker/0:1 (17)", is
// known to wait for I/O.
func (r *taskRule) waitsForIO(owner string) bool {
	pid, ok := ownerPID(owner)
	if !ok {
		return false
	}
	w := r.find(pid)
	return w != nil && w.kind == ClassIO
}

// ownerPID returns the thread's number at the end of "kworker/0:1 (17)".
func ownerPID(owner string) (int32, bool) {
	at := strings.LastIndexByte(owner, '(')
	if at < 0 || !strings.HasSuffix(owner, ")") {
		return 0, false
	}
	digits := owner[at+1 : len(owner)-1]
	if len(digits) == 0 || len(digits) > 9 {
		return 0, false
	}
	var pid int32
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		pid = 10*pid + int32(digits[i]-'0')
	}
	return pid, true
}

// reasonOf says what a thread waits for. The innermost function that tells
// decides: a thread that does I/O under a lock has both on its stack, and so has
// one that waits for a lock in order to do I/O. benign is true if the wait may last
// for ever.
func reasonOf(k *Waiting) (kind Class, function string, benign bool) {
	stack := k.Stack[:min(len(k.Stack), maxCallers)]
	if k.Lock != "" {
		kind = ClassBlocked
	}
	for _, f := range stack {
		switch {
		case f == "wait_for_vfork_done":
			return "", f, true
		case sleepingLock(f):
			return ClassBlocked, f, false
		case kind == "" && ioWait(f):
			return ClassIO, f, false
		}
	}
	if kind == "" && k.IOWait {
		kind, function = ClassIO, "in_iowait"
	}
	if kind != "" {
		return kind, function, false
	}
	benign = len(stack) > 0
	for _, f := range stack {
		if bare(f) != "kthread" && !strings.HasPrefix(f, "ret_from_fork") {
			benign = false
		}
	}
	if len(stack) > 0 {
		function = stack[0]
	}
	return "", function, benign
}

// maxShown is the number of waits that the evidence describes.
const maxShown = 8

func (r *taskRule) verdict(s *step) Verdict {
	v := Verdict{Class: r.class, Scope: Partial}
	n := 0
	for i := range r.waits {
		w := &r.waits[i]
		if !w.hangs || r.class == ClassIO && w.kind != ClassIO {
			continue
		}
		if n++; n <= maxShown {
			v.Evidence = append(v.Evidence, w.evidence(s.t))
		}
	}
	if n > maxShown {
		v.Evidence = append(v.Evidence, fmt.Sprintf("and %d more", n-maxShown))
	}
	if r.class == ClassIO {
		for i := range r.waits {
			if w := &r.waits[i]; w.kind == ClassBlocked && s.t-w.sinceNS >= int64(r.t.Blocked)/2 {
				v.Evidence = append(v.Evidence, "behind it: "+w.evidence(s.t))
				break
			}
		}
	}
	v.Evidence = append(v.Evidence, fmt.Sprintf("threads in uninterruptible sleep: %d", r.total))
	return v
}

// evidence describes a wait at dom0's time t.
func (w *wait) evidence(t int64) string {
	ms := (t - w.sinceNS) / 1e6
	e := fmt.Sprintf("thread %s (%d) has not run for %d ms", w.comm, w.pid, ms)
	if w.wakes > 0 {
		e = fmt.Sprintf("thread %s (%d) has done nothing for %d ms but check %d times whether its I/O is over",
			w.comm, w.pid, ms, w.wakes)
	}
	e += ": in uninterruptible sleep"
	if w.function != "" {
		e += " in " + w.function
	}
	if w.lock != "" {
		e += ", waits for lock " + w.lock
	}
	if w.owner != "" {
		e += " held by " + w.owner
	}
	if w.late {
		e += "; judged by its length alone"
	}
	return e
}

func (r *taskRule) notes(to []string) []string {
	var oldest *wait
	for i := range r.waits {
		if w := &r.waits[i]; !w.benign && (oldest == nil || w.sinceNS < oldest.sinceNS) {
			oldest = w
		}
	}
	if oldest != nil {
		to = append(to, fmt.Sprintf("blocked, io: %d threads wait; longest: %s", r.total, oldest.evidence(oldest.lastNS)))
	}
	return to
}

// sleepingLock reports whether a task in this kernel function waits for a sleeping
// lock (kernel/locking: mutex.c, rwsem.c, semaphore.c, percpu-rwsem.c, rtmutex.c,
// ww_mutex; net/core/sock.c).
func sleepingLock(symbol string) bool {
	switch symbol = bare(symbol); symbol {
	case "__down", "__down_common", "down", "down_interruptible", "down_killable", "down_timeout",
		"__lock_sock", "lock_sock_nested", "out_of_line_wait_on_bit_lock":
		return true
	}
	return hasPrefix(symbol, "mutex_lock", "__mutex_lock", "ww_mutex_lock", "__ww_mutex_lock", "rwsem_down_",
		"down_read", "down_write", "__down_read", "__down_write", "percpu_down_", "__percpu_down_", "percpu_rwsem_wait",
		"rt_mutex_lock", "__rt_mutex_", "rt_mutex_slowlock", "rwbase_")
}

// ioWait reports whether a task in this kernel function waits for I/O: functions of
// the page cache, the block layer and the journal.
func ioWait(symbol string) bool {
	return hasPrefix(bare(symbol), "io_schedule", "folio_wait", "__folio_lock", "folio_lock", "wait_on_page",
		"bit_wait_io", "__wait_on_buffer", "wait_on_buffer", "submit_bio_wait", "bio_wait", "blk_", "__blk",
		"blkdev_issue", "rq_qos_wait", "wbt_wait", "filemap_fdatawait", "__filemap_fdatawait", "__iomap_dio_rw",
		"dio_await", "balance_dirty_pages", "wait_for_writeback", "__writeback_", "wb_wait_for_completion",
		"jbd2_log_wait_commit", "jbd2_journal_commit_transaction", "start_this_handle", "add_transaction_credits",
		"wait_transaction_", "xlog_wait", "xlog_grant_")
}
