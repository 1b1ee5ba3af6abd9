package detect

// stuckServer decides on a wait of that age, in ns, for a server in userland that others
// wait for too. A server that is stopped or frozen cannot answer. It was stopped on purpose,
// and in most cases for some seconds, so it has longer than the owner of a lock
// (server_ms). One that sleeps or runs may wait for a slow network: it has as long as a
// wait of an unknown reason. An answer to another thread shows that it works.
func (r *taskRule) stuckServer(w *wait, age, t int64) bool {
	need := int64(r.t.Waiting)
	switch w.ownerState {
	case OwnerStopped, OwnerFrozen, OwnerWaits, OwnerEnds:
		need = int64(r.t.Server)
	}
	return age >= need && (w.movedNS == 0 || t-w.movedNS >= need)
}

// serverWait reports whether a task in this kernel function waits for the answer of a
// program or of another machine: FUSE, userfaultfd, autofs, NFS and 9p (fs/fuse/dev.c,
// fs/userfaultfd.c, fs/autofs/waitq.c, net/sunrpc/sched.c, fs/nfs/inode.c, net/9p/client.c).
func serverWait(symbol string) bool {
	switch symbol = bare(symbol); symbol {
	case "request_wait_answer", "handle_userfault", "autofs_wait", "rpc_wait_bit_killable", "nfs_wait_bit_killable",
		"p9_client_rpc":
		return true
	}
	return fuse(symbol)
}

// WaitsForServer reports whether a thread waits for a program that serves a file system
// (FUSE), by its stack.
func WaitsForServer(w *Waiting) bool {
	kind, f, _ := reasonOf(w)
	return kind == ClassBlocked && fuse(bare(f))
}

// fuse reports whether a kernel function is one of FUSE.
func fuse(symbol string) bool {
	return hasPrefix(symbol, "fuse_", "__fuse_") || symbol == "request_wait_answer"
}

// doing says in a clause what a thread does.
func doing(state, in string) string {
	switch state {
	case OwnerRuns:
		return "is runnable or runs"
	case OwnerStopped:
		return "is stopped (state T)"
	case OwnerFrozen:
		return "is frozen"
	case OwnerEnds:
		return "has ended or is about to"
	}
	says := "sleeps"
	if state == OwnerWaits {
		says = "is in uninterruptible sleep"
	}
	if in != "" {
		says += " in " + in
	}
	return says
}
