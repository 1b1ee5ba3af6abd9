//go:build xen && cgo

/* How the functions of shim.h make their results. */
#ifndef HANGBENCH_XENCTRL_RESULT_H
#define HANGBENCH_XENCTRL_RESULT_H

#include "shim.h"

#include <xentoollog.h>

/* Keeps the last error that a library logs on this thread. */
extern xentoollog_logger hb_quiet;

/* Every function begins with hb_begin and ends with hb_done, which takes the
 * result of the library's function: below 0 it captures errno and the message. */
void hb_begin(void);
hb_ret hb_done(int64_t rc);

#define CALL(expr) do { hb_begin(); return hb_done(expr); } while (0)

#endif
