package Gateway::Truth;

# Whether money and seats are together: what our database says of orders against
# the gateway's ledger.

use strict;
use warnings;

# What is certain: of the others nobody knows yet.
my %Certain = map { $_ => 1 } '', qw( PAID DECLINED REFUNDED );

# A query for orders "o": the order, its payment's state ('': there is none),
# its amount, its reservation's state, how many seats are sold to that, how many
# it has, and whether it is paid.
sub query {
    my ($where) = @_;

    return <<"END";
select o.order_id, coalesce(p.status, ''), o.amount, coalesce(r.status, ''),
       (select count(*)
        from concert.seats s
        where s.schedule_id = r.schedule_id
          and s.seat_id = any (r.seat_ids)
          and s.reservation_id = r.reservation_id
          and s.hold_until = 'infinity'),
       coalesce(cardinality(r.seat_ids), 0),
       exists (select
               from concert.all_payments b
               where b.payment_id = r.payment_id
                 and b.status = 'PAID')
from concert.orders o
left join concert.all_payments p on p.payment_id = o.payment_id
left join concert.reservations r on r.reservation_id = o.reservation_id
where $where
END
}

# The rows that psql prints for the query, by order.
sub rows {
    return map { my ($order, @row) = split /\|/, $_, -1; ($order => \@row) }
           split /\n/, $_[0];
}

# What the gateway has of each order, by its ledger's payments.
sub net {
    my ($payments) = @_;
    my %net;

    $net{ $_->{orderId} } += $_->{approved} - $_->{cancelled} for @$payments;
    return \%net;
}

# Where the two differ, in words.
sub differences {
    my ($rows, $net) = @_;
    my @wrong;

    for my $order (sort keys %$rows) {
        my ($status, $amount, $reservation, $sold, $seats, $has)
            = @{ $rows->{$order} };
        next if !$Certain{$status};

        my $money = $net->{$order} // 0;
        my $due = $status eq 'PAID' ? $amount : 0;

        push @wrong, "$order is '$status' of $amount, the gateway has $money"
            if $money != $due;
        push @wrong, "$order is '$status', its reservation '$reservation' has "
                     . "$sold of $seats seats"
            if $seats && $reservation ne 'PAYING'
               && ($sold != ($has eq 't' ? $seats : 0)
                   || ($reservation eq 'PAID') != ($has eq 't'));
    }

    push @wrong, map { "$_ is no order of ours, the gateway has $net->{$_}" }
                 grep { $net->{$_} && !$rows->{$_} } sort keys %$net;

    return @wrong;
}

1;
