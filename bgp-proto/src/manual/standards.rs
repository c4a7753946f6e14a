//! Every RFC that the crate follows, with the tests that hold it.
//!
//! Tests in `tests/` are named by file, tests beside the code by module. Many tests are tables: then the name is the row's.
//!
//! | RFC | What | Tests |
//! |---|---|---|
//! | 1997 | communities | `types::community`: `community_notations`; `dispositions.rs`: `one_table_of_blocks_and_actions` |
//! | 2545 | IPv6 next hops | `fixtures.rs`: fixture `IPv6 both ways`; `attr::mp`: `a_next_hop_must_fit_family_and_session` |
//! | 2918 | route refresh | `fixtures.rs`: fixture `route refresh`; `notifications.rs`: `route refresh too short` |
//! | 4271 | messages, attributes, errors | `fixtures.rs`, all fixtures; `notifications.rs`: `errors_answer_with_the_code_subcode_and_data_of_rfc_4271`; `dispositions.rs`: `the_partial_bit_stays` |
//! | 4360 | extended communities | `types::community`: `extended_community_notations` |
//! | 4364, 4659 | VPN-IPv4 and VPN-IPv6 routes | `nlri::form`: `every_form_ends_where_its_length_says`; `fixtures.rs`: fixtures `VPN-IPv4`, `VPN-IPv6` |
//! | 4456 | ORIGINATOR_ID, CLUSTER_LIST | `fixtures.rs`: fixture `every attribute of an internal session`; `dispositions.rs`: `one_table_of_blocks_and_actions` |
//! | 4486, 9003 | Cease subcodes, shutdown communication | `message::notification`: `display_names_code_and_subcode`, `shutdown_text_is_cut_at_a_character_and_escaped_for_display`, `a_shutdown_text_must_fit_and_be_utf8` |
//! | 4684 | route target constraint | `nlri::form`: `errors_say_where_and_how_much`; `fixtures.rs`: fixture `route targets` |
//! | 4724 | graceful restart, End-of-RIB | `message::update_view`: `end_of_rib_of_either_form`; `capability::display`: `capabilities_read_as_text` |
//! | 4760 | multiprotocol extensions | `attr::mp`: `truncation_says_what_is_missing`; `dispositions.rs`: `an_update_with_contained_errors_is_a_value_with_problems` |
//! | 5065 | confederation segments | `fixtures.rs`: fixture `confederation segments` |
//! | 5291 | outbound route filters | `message::filters`: `blocks_end_where_their_length_says`; `notifications.rs`: `outbound_route_filters_are_skipped` |
//! | 5492 | capabilities | `fixtures.rs`: fixture `open with the rarer capabilities`; `properties.rs`: `messages_decode_to_themselves` |
//! | 5701 | IPv6 extended communities | `types::community`: `ipv6_extended_community_notations`; `fixtures.rs`: fixture `attributes that came later` |
//! | 6286 | BGP identifier | `notifications.rs`: `identifier 0` |
//! | 6608 | FSM error subcodes | `message::notification`: `display_names_code_and_subcode` |
//! | 6793 | four-octet AS numbers | `dispositions.rs`: `as4_attributes_merge_in_any_order`; `fixtures.rs`: fixture `four-octet numbers on a two-octet session` |
//! | 7311 | AIGP | `attr::aigp`: `tlvs_must_end_within_the_value`, `the_first_metric_counts_and_all_tlvs_stay` |
//! | 7313 | enhanced route refresh | `fixtures.rs`: fixture `end of route refresh`; `notifications.rs`: `BoRR too long` |
//! | 7432, 9136 | EVPN routes | `nlri::form`: `evpn_keys_leave_out_what_routes_merely_carry`; `fixtures.rs`: fixture `EVPN of several types` |
//! | 7606 | errors in UPDATEs | `dispositions.rs`: `one_table_of_blocks_and_actions`, `every_row_of_the_table_holds`, `an_update_that_cannot_be_split_resets_the_session`, `problems_are_bounded_and_keep_the_worst` |
//! | 7607 | AS 0 | `dispositions.rs`: `AS 0 in the path`, `AGGREGATOR of AS 0`; `notifications.rs`: `AS 0 in the capability` |
//! | 7911 | ADD-PATH | `fixtures.rs`: fixtures `path identifiers`, `EVPN with path identifiers` |
//! | 7999, 8326 | BLACKHOLE, GRACEFUL_SHUTDOWN | `types::community`: `well_known_communities_have_their_numbers` |
//! | 8092 | large communities | `dispositions.rs`: `large_communities_lose_their_duplicates` |
//! | 8277 | labelled routes | `nlri::form`: `labels_and_host_bits_are_no_part_of_a_key`; `fixtures.rs`: fixture `labelled IPv6 unicast` |
//! | 8538 | graceful restart on NOTIFICATION, Hard Reset | `message::notification`: `hard_reset_carries_the_reason` |
//! | 8654 | extended messages | `message::header`: `header_errors_are_found_before_the_body_arrives` |
//! | 8950 | IPv4 with IPv6 next hops | `fixtures.rs`: fixture `IPv4 with an IPv6 next hop`; `attr::mp`: `a_next_hop_must_fit_family_and_session` |
//! | 8955, 8956 | flow specifications | `nlri::form`: `both_lengths_of_a_flow_specification_mean_the_same`; `fixtures.rs`: fixture `flow specification` |
//! | 9072 | long OPENs | `fixtures.rs`: fixture `open in the extended form of RFC 9072`; `notifications.rs`: the five `RFC 9072` rows |
//! | 9234 | role, OTC | `dispositions.rs`: `OTC of 3 octets`, `OTC of 1024 octets`; `capability::display`: `capabilities_read_as_text` |
//! | 9494 | long-lived graceful restart | `fixtures.rs`: fixture `open with the rarer capabilities`; `types::community`: `well_known_communities_have_their_numbers` |
//! | 9687 | send hold timer | `notifications.rs`: `notifications_of_timers_have_their_codes` |
//!
//! RFC 8212, which refuses routes of external peers without a policy, has no wire form: it is the speaker's.
//!
//! All of them also hold for what BIRD, ExaBGP, FRR, GoBGP and OpenBGPD really send, which is recorded and read by a second,
//! unrelated decoder too.
