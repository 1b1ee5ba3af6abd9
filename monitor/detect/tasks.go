package detect

import (
	"fmt"
	"strings"
)

// taskRule finds threads in uninterruptible sleep that do not come back: class
// io if they wait for I/O, blocked if for a sleeping lock. A thread that has not
// run since is one whose count of switches stands still, or that has only looked
// whether its I/O is over: see again.
//
// Early, on evidence: the stack or the lock says what it waits for, and nothing
// says that things go on. While other waits for I/O end, the device is alive and
// perhaps slow. While others get the lock, it is contended. While the owner of
// the lock waits for I/O, or the lock has no name and there is I/O about, it is
// the disk that is slow. While the owner is runnable, it waits for its turn on a
// CPU; if it never lets go, rules about vCPUs see that.
//
// Late, on silence: whatever it waits for. Threads that sleep so for as long as
// they like are left out: the parent in vfork, and kernel threads not yet started.
type taskRule struct {
	t Thresholds

	waits []wait // those that are known, at most maxWaits
	ioNS  int64  // last look with a wait for I/O that was new or over
	overs int64  // last look at which a wait for I/O was over; 0 for never
	looks int    // since restart
	level level
	class Class
	total int

	sectors, wasSectors uint64 // Kernel.IOSectors of this look and the one before; 0 for not read
	lookNS, wasNS       int64  // when those looks were
}

// wait is one stay of a thread in uninterruptible sleep.
type wait struct {
	pid         int32
	comm        string
	switches    uint64
	sinceNS     int64 // first look that showed it
	lastNS      int64 // last one
	looks       int
	unseen      int   // looks since then
	kind        Class // io, blocked, or "" for neither
	timed       bool  // it looks now and then whether its I/O is over
	wakes       uint64
	benign      bool
	function    string // that tells the kind, or the innermost
	lock, owner string
	ownerRuns   bool  // at the last look
	movedNS     int64 // last time that a wait for the same lock was over
	hangs       bool
	late        bool
}

// maxWaits is how many are remembered. A look shows at most MaxWaiting, but if
// there are more than that not always the same.
const maxWaits = 4 * MaxWaiting

// maxUnseen is how long, in looks, one is remembered that an incomplete look did
// not show.
const maxUnseen = 8

func (r *taskRule) restart(int) {
	if r.waits == nil {
		r.waits = make([]wait, 0, maxWaits)
	}
	r.waits = r.waits[:0]
	r.ioNS, r.overs, r.looks, r.level = 0, 0, 0, blind
	r.sectors, r.wasSectors, r.lookNS, r.wasNS = 0, 0, 0, 0
}

func (r *taskRule) observe(s *step) level {
	k := s.look
	if k == nil {
		return r.level
	}
	if len(k.Waiting) == 0 && k.Walked == 0 {
		return r.level // the task list could not be read at all
	}
	r.looks++
	r.wasSectors, r.sectors = r.sectors, k.IOSectors
	r.wasNS, r.lookNS = r.lookNS, s.t
	r.total = max(k.WaitingTotal, len(k.Waiting))
	for i := range k.Waiting[:min(len(k.Waiting), MaxWaiting)] {
		r.meet(s.t, &k.Waiting[i])
	}
	r.forget(s.t, k.WaitingTotal <= len(k.Waiting) && len(k.Waiting) <= MaxWaiting && metAll(k))

	r.level = calm
	if r.looks < 2 {
		r.level = blind
	}
	held := r.ioSuspected(s.t)
	r.class = ""
	for i := range r.waits {
		w := &r.waits[i]
		w.hangs, w.late = r.stuck(w, s.t, held)
		switch {
		case w.hangs && (w.kind == ClassIO || r.class == ""):
			// Whoever waits for a lock may wait for one who waits for the device.
			r.class = ClassBlocked
			if w.kind == ClassIO {
				r.class = ClassIO
			}
			r.level = hung
		case r.level == calm && !w.benign && w.kind != "" && s.t-w.sinceNS >= int64(min(r.t.Blocked, r.t.IO))/4:
			r.level = watching
		}
	}
	return r.level
}

// metAll reports whether the walk of the task list has met as many threads as
// there are, but for those that came and went meanwhile. Other things that could
// not be read do not matter here.
func metAll(k *Kernel) bool {
	if k.Threads == 0 {
		return len(k.Unreadable) == 0
	}
	missing := int64(k.Threads) - int64(k.Walked)
	return max(missing, -missing) <= 4+int64(k.Threads)/8
}

// meet enters a waiting thread, or remembers that it still waits.
func (r *taskRule) meet(t int64, k *Waiting) {
	var w *wait
	for i := range r.waits {
		if r.waits[i].pid == k.PID {
			w = &r.waits[i]
			break
		}
	}
	if w != nil && w.comm == k.Comm && (w.switches == k.Switches || r.again(w, k)) {
		w.wakes += k.Switches - w.switches
		w.switches = k.Switches
		if w.lastNS != t {
			w.lastNS, w.unseen = t, 0
			w.looks++
		}
		// A stack or an owner may be unreadable now and then.
		if w.kind == "" {
			w.kind, w.function, w.benign = reasonOf(k)
			w.timed = w.kind == ClassIO && timedWait(k.Stack)
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
		r.over(t, w)
	} else {
		if len(r.waits) == maxWaits {
			return
		}
		r.waits = r.waits[:len(r.waits)+1]
		w = &r.waits[len(r.waits)-1]
	}
	*w = wait{pid: k.PID, comm: k.Comm, switches: k.Switches, sinceNS: t, lastNS: t, looks: 1, lock: k.Lock, owner: k.Owner, ownerRuns: k.OwnerRunnable}
	w.kind, w.function, w.benign = reasonOf(k)
	w.timed = w.kind == ClassIO && timedWait(k.Stack)
	if w.kind == ClassIO {
		r.ioNS = t
	}
}

// timedWake is more often than the kernel lets a thread look whether its I/O is
// over: every half of hung_task_timeout_secs, which is a second at least.
const timedWake = 250e6

// again reports whether a thread that has run since the last look is still in the
// wait it was in then. Who waits for a block device in blk_io_schedule or
// blk_wait_io is woken at half the hung-task timeout, so that the kernel's own
// watchdog does not report it, and sleeps again. It cannot have begun another wait
// of that kind without handing a read or a write to a device, and none was.
func (r *taskRule) again(w *wait, k *Waiting) bool {
	if !w.timed || w.lastNS != r.wasNS || r.sectors == 0 || r.sectors != r.wasSectors || !timedWait(k.Stack) {
		return false
	}
	most := 1 + uint64(r.lookNS-r.wasNS)/timedWake
	return k.Switches-w.switches <= most // a count that went back is a large number
}

// timedWait reports whether a thread waits for a read or a write where the kernel
// wakes it now and then. Flushes, discards and what acts on zones wait there too,
// and are left out: they are not counted as I/O.
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

// over notes that a wait has ended: the device or the lock is alive.
func (r *taskRule) over(t int64, w *wait) {
	switch {
	case w.kind == ClassIO:
		r.ioNS, r.overs = t, t
	case w.lock != "":
		for i := range r.waits {
			if other := &r.waits[i]; other != w && other.lock == w.lock {
				other.movedNS = t
			}
		}
	}
}

// forget drops the waits that the look did not show. An incomplete look may have
// left them out.
func (r *taskRule) forget(t int64, complete bool) {
	n := 0
	for i := range r.waits {
		w := &r.waits[i]
		if w.lastNS != t {
			if complete {
				r.over(t, w)
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

// ioSuspected reports whether a wait for I/O is so old that it may explain waits
// for locks.
func (r *taskRule) ioSuspected(t int64) bool {
	for i := range r.waits {
		if w := &r.waits[i]; w.kind == ClassIO && t-w.sinceNS >= int64(r.t.IO)/2 {
			return true
		}
	}
	return false
}

// stuck decides on one wait; late is true if it was silence that decided.
func (r *taskRule) stuck(w *wait, t int64, held bool) (stuck, late bool) {
	age := t - w.sinceNS
	if w.looks < minSamples || w.benign || w.lastNS != t {
		return false, false
	}
	switch {
	case age >= int64(r.t.Waiting):
		return true, true
	case w.kind == ClassIO:
		return age >= int64(r.t.IO) && (r.overs == 0 || t-r.overs >= int64(r.t.IO)), false
	case w.kind != ClassBlocked || age < int64(r.t.Blocked):
		return false, false
	case held && age < 2*int64(r.t.Blocked):
		return false, false // the I/O will be judged first
	case w.movedNS != 0 && t-w.movedNS < int64(r.t.Blocked):
		return false, false
	case w.ownerRuns, r.waitsForIO(w.owner):
		return false, false
	case w.lock == "" && r.ioNS != 0 && t-r.ioNS < int64(r.t.Blocked):
		return false, false
	}
	return true, false
}

// waitsForIO reports whether the owner of a lock, as "kworker/0:1 (17)", is known
// to wait for I/O itself.
func (r *taskRule) waitsForIO(owner string) bool {
	pid, ok := ownerPID(owner)
	if !ok {
		return false
	}
	for i := range r.waits {
		if r.waits[i].pid == pid && r.waits[i].kind == ClassIO {
			return true
		}
	}
	return false
}

// ownerPID takes the thread's number off the end of "kworker/0:1 (17)".
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

// reasonOf says what a thread waits for: the innermost function that tells
// decides, because the stack of one who does I/O under a lock shows both, and so
// does that of one who waits for a lock to do I/O. benign is true for one that
// may wait for ever.
func reasonOf(k *Waiting) (kind Class, function string, benign bool) {
	stack := k.Stack[:min(len(k.Stack), maxCallers)]
	if k.Lock != "" {
		kind = ClassBlocked
	}
	for _, f := range stack {
		switch {
		case f == "wait_for_vfork_done":
			return "", f, true
		case SleepingLock(f):
			return ClassBlocked, f, false
		case kind == "" && IOWait(f):
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

func (r *taskRule) verdict(s *step) Verdict {
	const most = 8
	v := Verdict{Class: r.class, Scope: Partial}
	n := 0
	for i := range r.waits {
		w := &r.waits[i]
		if !w.hangs || r.class == ClassIO && w.kind != ClassIO {
			continue
		}
		if n++; n <= most {
			v.Evidence = append(v.Evidence, w.evidence(s.t))
		}
	}
	if n > most {
		v.Evidence = append(v.Evidence, fmt.Sprintf("and %d more", n-most))
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

func (w *wait) evidence(t int64) string {
	e := fmt.Sprintf("thread %s (%d) has not run for %d ms: in uninterruptible sleep", w.comm, w.pid, (t-w.sinceNS)/1e6)
	if w.wakes > 0 {
		e = fmt.Sprintf("thread %s (%d) has done nothing for %d ms but look %d times whether its I/O is over: in uninterruptible sleep", w.comm, w.pid, (t-w.sinceNS)/1e6, w.wakes)
	}
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
		to = append(to, fmt.Sprintf("blocked, io: %d threads wait; longest %s", r.total, oldest.evidence(oldest.lastNS)))
	}
	return to
}

// SleepingLock reports whether a kernel function is one in which a task waits for
// a sleeping lock (kernel/locking: mutex.c, rwsem.c, semaphore.c,
// percpu-rwsem.c, rtmutex.c, ww_mutex; net/core/sock.c).
func SleepingLock(symbol string) bool {
	switch symbol = bare(symbol); symbol {
	case "__down", "__down_common", "down", "down_interruptible", "down_killable", "down_timeout",
		"__lock_sock", "lock_sock_nested", "out_of_line_wait_on_bit_lock":
		return true
	case "mutex_lock_io", "mutex_lock_io_nested":
		return true
	}
	return hasPrefix(symbol, "mutex_lock", "__mutex_lock", "ww_mutex_lock", "__ww_mutex_lock", "rwsem_down_", "down_read", "down_write",
		"__down_read", "__down_write", "percpu_down_", "__percpu_down_", "percpu_rwsem_wait", "rt_mutex_lock", "__rt_mutex_", "rt_mutex_slowlock",
		"rwbase_")
}

// IOWait reports whether a kernel function is one in which a task waits for I/O:
// the page cache's, the block layer's and the journal's.
func IOWait(symbol string) bool {
	return hasPrefix(bare(symbol), "io_schedule", "folio_wait", "__folio_lock", "folio_lock", "wait_on_page", "bit_wait_io", "__wait_on_buffer", "wait_on_buffer",
		"submit_bio_wait", "bio_wait", "blk_", "__blk", "blkdev_issue", "rq_qos_wait", "wbt_wait", "filemap_fdatawait", "__filemap_fdatawait",
		"__iomap_dio_rw", "dio_await", "balance_dirty_pages", "wait_for_writeback", "__writeback_", "wb_wait_for_completion",
		"jbd2_log_wait_commit", "jbd2_journal_commit_transaction", "start_this_handle", "add_transaction_credits", "wait_transaction_", "xlog_wait", "xlog_grant_")
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
