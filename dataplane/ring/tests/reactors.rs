//! One suite over every reactor: io_uring with all it has, with each fallback
//! that an older kernel would force, and epoll.

#![expect(clippy::unwrap_used, reason = "tests")]

mod suite;

use forebay_ring::{Config, EpollReactor, Features, UringReactor};

macro_rules! reactors {
    ($($test:ident),* $(,)?) => {
        mod uring {
            $(#[test] fn $test() { super::suite::$test(&|config| super::uring(config, |_| {})); })*
        }
        mod uring_plain_descriptors {
            $(#[test] fn $test() {
                super::suite::$test(&|config| super::uring(config, |without| without.direct_descriptors = true));
            })*
        }
        mod uring_oldest {
            $(#[test] fn $test() {
                super::suite::$test(&|config| super::uring(config, |without| *without = super::EVERYTHING));
            })*
        }
        mod epoll {
            $(#[test] fn $test() {
                super::suite::$test(&|config| EpollReactor::new(config).unwrap());
            })*
            use super::EpollReactor;
        }
    };
}

const EVERYTHING: Features = Features {
    io_uring: true,
    single_issuer: true,
    defer_taskrun: true,
    no_sqarray: true,
    registered_ring: true,
    direct_descriptors: true,
    multishot_accept: true,
    multishot_receive: true,
    min_wait: true,
};

fn uring(mut config: Config, step_down: impl FnOnce(&mut Features)) -> UringReactor {
    step_down(&mut config.without);
    UringReactor::new(config).unwrap()
}

reactors! {
    echoes,
    answers_requests_split_at_every_byte,
    answers_sixteen_pipelined_requests_in_few_sends,
    a_slow_reader_costs_neither_memory_nor_turns,
    answers_a_burst_that_ends_with_a_half_close,
    a_reset_in_the_middle_of_a_send_closes,
    churn_leaks_nothing,
    a_tiny_pool_of_buffers_loses_nothing,
    tiny_queues_lose_nothing,
    held_buffers_pause_their_connection_only,
    a_caller_who_holds_every_buffer_does_not_make_it_spin,
    receiving_can_be_switched_off,
    large_pieces_keep_their_order,
    files_are_sent_and_short_ones_are_not_hidden,
    timers_fire_in_order_and_not_when_cancelled,
    disk_writes_and_reads_back,
    wakes_are_never_lost,
    a_turn_gathers_what_comes_within_a_time,
    gathering_ends_with_the_next_timer,
    unix_sockets_know_their_peer,
    who_was_dialled_is_asked_whether_it_is_still_there,
    outbound_connections_report_how_they_ended,
    an_old_id_reaches_nobody,
    the_table_is_bounded,
    a_refused_upload_still_gets_its_answer,
    stopping_a_listener_keeps_those_who_came_before,
    dropping_with_work_under_way_is_clean,
}

#[test]
fn this_kernel_gives_what_the_measurements_assume() {
    let reactor = uring(Config::default(), |_| {});
    let features = forebay_ring::Reactor::features(&reactor);
    println!("{features}");
    let oldest = forebay_ring::Reactor::features(&uring(Config::default(), |w| *w = EVERYTHING));
    assert_eq!(oldest, Features { io_uring: true, ..Features::default() });
}
