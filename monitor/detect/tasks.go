package detect

import (
	"fmt"
	"slices"
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
	// IO is how long a thread must wait for I/O while no other wait for I/O ends. If the
	// disks' counts of completed requests can be read it is twice as long (see stuckIO).
	IO time.Duration
	// Grace is how long a thread must wait for a grace period of RCU while none begins or
	// ends.
	Grace time.Duration
	// Server is how long a thread must wait for a server in userland that is stopped.
	Server time.Duration
	// Frozen is how long a thread must wait for a file system that is frozen.
	Frozen time.Duration
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
					Reads: "threads in uninterruptible sleep, their task switches and stacks; what disks complete",
					Early: "waits for I/O, no wait for I/O ends, and no disk completes a request for twice as long as any silence " +
						"of the last minute",
					Late: "waits for I/O for very long, even if other waits end, and no signal can end it",
				},
				knobs: []knob{
					milliseconds(&t.IO, "io_ms", 2500, "a thread waits for I/O, and none completes"), waiting,
				},
				needsKernel: true,
			},
			{
				Info: Info{
					Class: ClassBlocked, Severity: 10, Waits: true,
					Reads: "threads in uninterruptible sleep, their task switches, stacks, locks and owners; RCU; frozen file systems",
					Early: "waits for a sleeping lock that no other thread gets, and the owner does not wait for I/O; for a grace " +
						"period that nobody begins or ends; for a server in userland that is stopped",
					Late: "in uninterruptible sleep for very long, for whatever reason, and no signal can end it",
				},
				knobs: []knob{
					milliseconds(&t.Blocked, "blocked_ms", 2500, "a thread waits for a sleeping lock"),
					milliseconds(&t.Grace, "grace_ms", 10_000, "a thread waits for a grace period of RCU, and none begins or ends"),
					milliseconds(&t.Server, "server_ms", 10_000, "a thread waits for a server in userland that is stopped"),
					milliseconds(&t.Frozen, "frozen_ms", 120_000, "a thread waits for a file system that is frozen"), waiting,
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
// nothing shows progress. Six things may explain the wait, and then the rule does
// not decide early:
//   - Other waits for I/O end, or the disk completes requests: it works and is perhaps slow.
//   - Others get the lock: it is contended.
//   - The owner of the lock waits for I/O, or the lock has no name and there is I/O:
//     the disk is slow. The same if the owner waits for a grace period, a server or a frozen
//     file system, or for a lock whose owner does: that wait is judged.
//   - An old wait for I/O may explain waits for locks: it is judged first.
//   - The owner of the lock is runnable: it waits for a CPU. If it never releases the
//     lock, the rules about vCPUs find it.
//   - The file system is frozen. An administrator or a backup does that on purpose, and in
//     most cases for some seconds.
//
// Waits for grace periods of RCU and for servers have their own decisions (stuckGrace,
// stuckServer).
//
// Late, on silence: whatever the thread waits for. The kernel's detector of hung tasks
// (check_hung_uninterruptible_tasks in kernel/hung_task.c) leaves these threads out, and so
// does the rule: those that a fatal signal wakes, as the parent in vfork; those that do not
// count as load or are frozen; and kernel threads that have not started yet.
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

	disks   disks
	endedNS int64 // length of the longest wait for I/O that ended at this inspection
	graces  graces
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
	grace       bool   // of kind blocked: it waits for a grace period
	server      bool   // of kind blocked: it waits for a server in userland
	killable    bool
	lock, owner string
	ownerState  string // at the last inspection
	ownerIn     string
	ownerRuns   bool
	frozen      string // the file system that it waits for; "" for none
	disk        string // that it waits for; "" if unknown
	movedNS     int64  // last time that another thread's wait for the same lock or server ended; 0 for never
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
	r.endedNS = 0
	for i := range k.Waiting[:min(len(k.Waiting), MaxWaiting)] {
		r.take(&k.Waiting[i])
	}
	r.forget(complete(k))
	r.disks.observe(k.Disks, s.t, r.endedNS)
	r.graces.observe(k.Grace, s.t, r.wasNS)
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
		if k.Disk != "" {
			w.disk = k.Disk
		}
		w.see(k)
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
		lock: k.Lock, owner: k.Owner, disk: k.Disk, killable: k.Killable,
	}
	w.explain(k)
	w.see(k)
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

// see sets what may change while the thread waits.
func (w *wait) see(k *Waiting) {
	w.ownerRuns, w.ownerState, w.ownerIn, w.frozen = k.OwnerRunnable, k.OwnerState, k.OwnerIn, k.Frozen
}

// explain sets what the stack of a thread tells of its wait.
func (w *wait) explain(k *Waiting) {
	w.kind, w.function, w.benign = reasonOf(k)
	w.grace = w.kind == ClassBlocked && graceWait(w.function)
	w.server = w.kind == ClassBlocked && serverWait(w.function)
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

// end notes that a wait has ended: the device, the lock or the server works.
func (r *taskRule) end(w *wait) {
	switch {
	case w.kind == ClassIO:
		r.ioNS, r.ioEndNS = r.nowNS, r.nowNS
		r.endedNS = max(r.endedNS, r.nowNS-w.sinceNS)
	case w.lock != "", w.server:
		for i := range r.waits {
			if other := &r.waits[i]; other.lock == w.lock && other.server == w.server && (!w.server || other.owner == w.owner) {
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
	behind := r.behind(w)
	switch {
	case w.frozen != "", behind != nil && behind.frozen != "":
		return age >= int64(r.t.Frozen), false
	case age >= int64(r.t.Waiting) && !w.killable:
		return true, true
	case w.kind == ClassIO:
		return r.stuckIO(w, age, t), false
	case w.kind != ClassBlocked:
		return false, false
	case w.grace:
		return r.stuckGrace(w, age, t), false
	case w.server:
		return r.stuckServer(w, age, t), false
	case age < int64(r.t.Blocked):
		return false, false
	case ioFirst && age < max(2*int64(r.t.Blocked), r.needIO()):
		return false, false
	case w.movedNS != 0 && t-w.movedNS < int64(r.t.Blocked):
		return false, false
	case w.ownerRuns, behind != nil:
		return false, false
	case w.lock == "" && r.ioNS != 0 && t-r.ioNS < int64(r.t.Blocked):
		return false, false
	case w.lock == "" && r.disks.n != 0 && r.ioEndNS != 0 && t-r.ioEndNS < r.needIO():
		return false, false
	}
	return true, false
}

// maxOwners bounds how far owners of locks are followed. Threads may wait for each other
// in a circle.
const maxOwners = 8

// behind returns the wait that explains w and is judged in its place: the owner of the
// lock, or the owner of the lock that this one waits for, and so on, waits for I/O, a grace
// period, a server or a frozen file system. It returns nil if there is none.
func (r *taskRule) behind(w *wait) *wait {
	for range maxOwners {
		pid, ok := ownerPID(w.owner)
		if !ok {
			return nil
		}
		if w = r.find(pid); w == nil {
			return nil
		}
		if w.kind == ClassIO || w.grace || w.server || w.frozen != "" {
			return w
		}
	}
	return nil
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
	for i, f := range stack {
		switch {
		case f == "wait_for_vfork_done", f == "__refrigerator":
			return "", f, true
		case otherGrace(f), graceWait(f) && slices.ContainsFunc(stack[i:], otherGrace):
			return "", f, false
		case sleepingLock(f), graceWait(f), serverWait(f):
			return ClassBlocked, f, false
		case kind == "" && ioWait(f):
			// A page of a file whose server is a program.
			if j := slices.IndexFunc(stack[i:], serverWait); j >= 0 {
				return ClassBlocked, stack[i+j], false
			}
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
	n, grace, disk := 0, false, ""
	for i := range r.waits {
		w := &r.waits[i]
		if !w.hangs || r.class == ClassIO && w.kind != ClassIO {
			continue
		}
		grace = grace || w.grace
		if n == 0 {
			disk = w.disk
		} else if w.disk != disk {
			disk = "" // several, or unknown
		}
		if n++; n <= maxShown {
			v.Evidence = append(v.Evidence, w.evidence(s.t))
		}
	}
	if n > maxShown {
		v.Evidence = append(v.Evidence, fmt.Sprintf("and %d more", n-maxShown))
	}
	if r.class == ClassIO {
		v.Evidence = r.disks.evidence(v.Evidence, disk, s.t)
		for i := range r.waits {
			if w := &r.waits[i]; w.kind == ClassBlocked && s.t-w.sinceNS >= int64(r.t.Blocked)/2 {
				v.Evidence = append(v.Evidence, "behind it: "+w.evidence(s.t))
				break
			}
		}
	}
	if grace && r.graces.lastNS != 0 {
		v.Evidence = append(v.Evidence, r.graces.evidence(s.t))
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
	switch {
	case w.lock != "":
		e += ", waits for lock " + w.lock
	case w.frozen != "":
		e += ", waits for the file system " + w.frozen + ", which is frozen"
	case w.grace:
		e += ", waits for a grace period of RCU"
	case w.server && w.owner == "":
		e += ", waits for a server that does not answer"
	case w.server:
		e += ", waits for the answer of"
	case w.disk != "":
		e += ", waits for disk " + w.disk
	}
	if w.owner != "" {
		if !w.server {
			e += " held by"
		}
		e += " " + w.owner
		if w.ownerState != "" {
			e += ", which " + doing(w.ownerState, w.ownerIn)
		}
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
	for i := range r.waits {
		if w := &r.waits[i]; w.frozen != "" {
			to = append(to, fmt.Sprintf("blocked: the file system %s is frozen; thread %s (%d) has waited for it for %d ms",
				w.frozen, w.comm, w.pid, (w.lastNS-w.sinceNS)/1e6))
			break
		}
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
