//! CoAP response codes as HTTP status codes (RFC 8075 §7, Table 2).

use super::message::Code;

/// The status for a response code.
///
/// `payload`: whether the response has one. `client_option`: whether the request carried an option
/// that stands for a header field of the client's, which makes a 4.02 its fault (note 6). Codes of
/// RFC 8132, 8516 and 8768 are later than the table and go to the HTTP status they were modelled
/// on; an unknown code counts as the first of its class (RFC 7252 §5.9). `None` is a code that ends
/// no exchange (note 10), or no response.
pub(crate) fn http(code: Code, payload: bool, client_option: bool) -> Option<u16> {
    let done = if payload { 200 } else { 204 };
    Some(match (code.class(), code.detail()) {
        (2, 1) => 201,
        (2, 3) => 304,
        (2, 5) => 200,
        (2, 31) | (4, 8) => return None,
        (2, _) => done,
        (4, 1 | 3) => 403,
        (4, 2) if !client_option => 500,
        (4, 4) => 404,
        (4, 6) => 406,
        (4, 9) => 409,
        (4, 12) => 412,
        (4, 13) => 413,
        (4, 15) => 415,
        (4, 22) => 422,
        (4, 29) => 429,
        (4, _) => 400,
        (5, 1) => 501,
        (5, 2 | 5) => 502,
        (5, 3) => 503,
        (5, 4) => 504,
        (5, 8) => 508,
        (5, _) => 500,
        _ => return None,
    })
}

/// The reason phrase of a status.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_table_2_holds() {
        // class, detail, payload, client's option: status
        let rows = [
            (2, 1, false, false, 201),
            (2, 1, true, false, 201),
            (2, 2, true, false, 200),
            (2, 2, false, false, 204),
            (2, 3, false, false, 304),
            (2, 4, true, false, 200),
            (2, 4, false, false, 204),
            (2, 5, false, false, 200),
            (2, 5, true, false, 200),
            (4, 0, false, false, 400),
            (4, 1, false, false, 403),
            (4, 2, false, true, 400),
            (4, 2, false, false, 500),
            (4, 3, false, false, 403),
            (4, 4, false, false, 404),
            (4, 5, false, false, 400),
            (4, 6, false, false, 406),
            (4, 12, false, false, 412),
            (4, 13, false, false, 413),
            (4, 15, false, false, 415),
            (5, 0, false, false, 500),
            (5, 1, false, false, 501),
            (5, 2, false, false, 502),
            (5, 3, false, false, 503),
            (5, 4, false, false, 504),
            (5, 5, false, false, 502),
        ];
        for (class, detail, payload, client_option, status) in rows {
            let code = Code::response(class, detail);
            assert_eq!(http(code, payload, client_option), Some(status), "{class}.{detail:02}");
            assert_ne!(reason(status), "Unknown");
        }
    }

    #[test]
    fn codes_of_block_wise_transfer_have_no_status() {
        assert_eq!(http(Code::CONTINUE, false, false), None);
        assert_eq!(http(Code::INCOMPLETE, false, false), None);
        assert_eq!(http(Code::GET, false, false), None);
    }

    #[test]
    fn codes_after_the_table_go_to_their_model_or_class() {
        let rows =
            [(4, 9, 409), (4, 22, 422), (4, 29, 429), (5, 8, 508), (4, 30, 400), (5, 30, 500)];
        for (class, detail, status) in rows {
            assert_eq!(http(Code::response(class, detail), false, false), Some(status));
        }
    }

    #[test]
    fn every_status_has_a_reason() {
        for code in 0..=255 {
            if let Some(status) = http(Code(code), true, true) {
                assert_ne!(reason(status), "Unknown", "{status}");
            }
        }
    }
}
