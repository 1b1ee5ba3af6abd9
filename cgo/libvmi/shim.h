/* The parts of LibVMI that cgo cannot use: unions, callbacks, and names behind macros. */
#ifndef HANGBENCH_LIBVMI_SHIM_H
#define HANGBENCH_LIBVMI_SHIM_H

#include <stdint.h>
#include <libvmi/libvmi.h>
#include <libvmi/events.h>
#include <libvmi/slat.h>

#if !defined(VMI_EVENTS_VERSION)
#error "libvmi/events.h has no VMI_EVENTS_VERSION: hangbench needs LibVMI 0.14 or newer"
#elif VMI_EVENTS_VERSION < 7
#error "the events interface of this LibVMI is older than version 7: hangbench needs LibVMI 0.14 or newer"
#elif VMI_EVENTS_VERSION > 9
#error "the events interface of this LibVMI is newer than version 9 (LibVMI 0.15), the last one that hangbench knows"
#endif

/* An event without unions. */
typedef struct {
	uint64_t gfn, offset, gla, value, previous;
	uint64_t rip, rsp, rflags, cr3;
	uint32_t vcpu, reg, insn_len;
	uint16_t type, view;
	uint8_t access, gla_valid, gptw;
} hbvmi_event;

/* The answer to an event. */
typedef struct {
	uint32_t flags; /* event_response_t */
	uint16_t view, next_view;
	uint8_t reinject;
} hbvmi_reply;

/* The events that are wanted. */
typedef struct {
	uint64_t gfn;
	uint32_t reg, vcpus;
	uint16_t type, view;
	uint8_t access, generic, enable;
} hbvmi_spec;

typedef struct {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags, cr0, cr2, cr3, cr4, efer, star, lstar;
	uint64_t fs_base, gs_base, shadow_gs, idtr_base, ss_arbytes;
} hbvmi_regs;

/* A vmi_event_t with the handle of its registration. */
typedef struct hbvmi_registered hbvmi_registered;

status_t hbvmi_open(const char *name, uint64_t id, int events, vmi_instance_t *vmi, vmi_init_error_t *error);
status_t hbvmi_init_os(vmi_instance_t vmi, char *config, vmi_init_error_t *error);
status_t hbvmi_regs_of(vmi_instance_t vmi, unsigned long vcpu, hbvmi_regs *out);
status_t hbvmi_read(vmi_instance_t vmi, uint32_t how, uint64_t addr, int32_t pid, const char *symbol,
		    size_t n, void *b, size_t *done);

/* LibVMI 0.14 does not have these functions: with it they fail. */
status_t hbvmi_next_gfn(vmi_instance_t vmi, uint64_t *gfn);
status_t hbvmi_alloc_gfn(vmi_instance_t vmi, uint64_t gfn);
status_t hbvmi_free_gfn(vmi_instance_t vmi, uint64_t gfn);

status_t hbvmi_register(vmi_instance_t vmi, const hbvmi_spec *s, uintptr_t handle, hbvmi_registered **out);
status_t hbvmi_clear(vmi_instance_t vmi, hbvmi_registered *e);
status_t hbvmi_stop_step(vmi_instance_t vmi, hbvmi_registered *e, uint32_t vcpu);
void hbvmi_free(hbvmi_registered *e);
/* The number of events that are not freed. */
int hbvmi_live(void);

/* Go functions of export.go. */
extern void hbvmiGoEvent(uintptr_t handle, hbvmi_event *ev, hbvmi_reply *reply);
extern void hbvmiGoCleared(uintptr_t handle, int ok);

#endif
